"""Own the story of a run: start, break one thing after the other, measure each time, look once more at the end."""

import random
import time

from proof.chaos.activity import wait_until
from proof.chaos.application import Application
from proof.chaos.fault import FAULTS
from proof.chaos.ledger import Ledger
from proof.chaos.observer import Observer
from proof.chaos.pulse import Pulse
from proof.chaos.recovery import Recovery, read_stats
from proof.chaos.report import Line, Report
from proof.chaos.writer import Writer

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule


class Run:
    """One run on a stage of which nothing has been started."""

    def __init__(self, stage, options, say):
        self._stage = stage
        self._options = options
        self._say = say
        self._random = random.Random(options.seed)
        self._started = time.monotonic()
        self.notes = []
        self.report = Report(stage.lease_s + options.slack, tuple(fault.name for fault in FAULTS))

    def start(self):
        """Start everything; return when all rows are cached."""
        stage, options = self._stage, self._options
        self._say("starting Valkey twice, PostgreSQL, 2 dispatchers and 2 workers of 2 processes")
        stage.start_servers(options.rows, options.slow)
        stage.use_directly()
        stage.start_processes()
        row_ids = [str(n) for n in range(1, options.rows + 1)]
        delays = {row_id: round(self._random.uniform(0.2, 1) * options.max_delay, 2) for row_id in row_ids}
        ledger = Ledger(row_ids)
        self._client = connect(stage.cache.url, "chaos")
        self._writer = Writer(stage.database_url)
        self._observer = Observer(connect(stage.cache.url, "chaos"), ledger, row_ids)
        client = connect(stage.cache.url, "chaos")
        schedule = Schedule(client, Table("inv", "stock"))
        self._application = Application(client, schedule, ledger, delays, options.seed)
        self._pulse = Pulse(self._client, stage.supervisor)
        self._recovery = Recovery(self._client, ledger, self._writer, self._pulse)
        self._application.put_all()
        for activity in (self._writer, self._observer):
            activity.start()
        wait_until(lambda: self._client.zcard("refreshed:") == options.rows, "all rows are cached")
        self._application.start()
        self._recovery.measure(self._check)
        self._say(f"{self._elapsed_s:6.1f} s  {options.rows} rows are cached; seed {options.seed}")

    def inject(self):
        """Inject each chosen fault once, in an order from the seed, and so on until the time is over."""
        only = self._options.only or [""]
        faults = [fault for fault in FAULTS if any(part in fault.name for part in only)]
        while True:
            for fault in self._random.sample(faults, len(faults)):
                if self.report.lines.keys() >= {one.name for one in faults} and self._is_over:
                    return
                time.sleep(self._random.uniform(0.1, 0.5))
                self._inject(fault)

    def finish(self):
        """Look at every row and every process once more."""
        self._application.stop()
        self._recovery.measure(self._check)
        self.report.violations += self._recovery.find_lost()[:5]
        for node in self._pulse.silent():
            # Celery 5.7 leaves a dispatcher deaf to commands, and working, when its connection for them hangs.
            known = self.notes if node.startswith("celerybeat") else self.report.violations
            known.append(f"{node} does not answer `inspect ping` at the end")

    def stop(self):
        for name in ("_application", "_observer", "_writer"):
            if hasattr(self, name):
                getattr(self, name).stop()
        self._stage.stop()

    @property
    def summary(self):
        exits = self._stage.supervisor.exits
        return "\n".join(
            [
                f"{self._elapsed_s:.0f} s, {self._options.rows} rows, lease {self._stage.lease_s:g} s, "
                f"{self._observer.reads:,} readings of all rows, {self._writer.updates:,} changes of rows, "
                f"{len(exits)} processes exited by themselves",
                *self.report.violations,
                *self.notes,
                *exits,
            ]
        )

    @property
    def _elapsed_s(self):
        return time.monotonic() - self._started

    @property
    def _is_over(self):
        return self._elapsed_s >= self._options.seconds

    def _inject(self, fault):
        observer, before = self._observer, read_stats(self._client)
        back, undead = len(observer.back), len(observer.undead)
        what = fault.inject(self._stage, self._random)
        recovered = self._recovery.measure(self._check)
        self.report.violations += [f"{fault.name}: {name} did not work any more" for name in recovered.idle]
        self.report.violations += recovered.lost[:5] + observer.back[back:][:5] + observer.undead[undead:][:5]
        after = read_stats(self._client)
        counts = {name: int(after.get(name, 0) - before.get(name, 0)) for name in after}
        line = Line(
            fault.name,
            times=1,
            lost=len(recovered.lost),
            back=len(observer.back) - back,
            undead=len(observer.undead) - undead,
            fresh_s=recovered.fresh_after_s,
            working_s=recovered.working_after_s,
            superseded=counts.get("superseded", 0),
            claimed_in_vain=counts.get("claimed", 0) - counts.get("refreshed", 0) - counts.get("unchanged", 0),
        )
        self._say(self.report.add(self._elapsed_s, what, line))

    def _check(self):
        for activity in (self._application, self._observer, self._writer, self._stage.supervisor):
            activity.check()
