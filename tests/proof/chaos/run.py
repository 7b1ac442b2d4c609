"""Chaos run: start, inject one fault after the other, measure each recovery, check all rows at the end."""

import random
import time

from proof.chaos.acknowledged import AcknowledgedStates
from proof.chaos.application import Application
from proof.chaos.cache_observer import CacheObserver
from proof.chaos.database_writer import DatabaseWriter
from proof.chaos.fault import FAULTS
from proof.chaos.idle_processes import IdleProcesses
from proof.chaos.recovery import Recovery, read_stats
from proof.chaos.report import FaultLine, Report
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule


class Run:
    """Run on a deployment that is not started yet."""

    def __init__(self, deployment, options, say):
        self._deployment = deployment
        self._options = options
        self._say = say
        self._random = random.Random(options.seed)
        self._started = time.monotonic()
        self.notes = []
        self.report = Report(deployment.lease_s + options.slack, tuple(fault.name for fault in FAULTS))

    def start(self):
        """Start servers, processes and load; return when all rows are cached."""
        deployment, options = self._deployment, self._options
        self._say("starting Valkey twice, PostgreSQL, 2 dispatchers and 2 workers of 2 processes")
        deployment.start_servers(options.rows, options.slow)
        deployment.use_directly()
        deployment.start_processes()
        row_ids = [str(n) for n in range(1, options.rows + 1)]
        delays = {row_id: round(self._random.uniform(0.2, 1) * options.max_delay, 2) for row_id in row_ids}
        ledger = AcknowledgedStates(row_ids)
        self._client = connect(deployment.cache.url, "chaos")
        self._writer = DatabaseWriter(deployment.database_url)
        self._observer = CacheObserver(connect(deployment.cache.url, "chaos"), ledger, row_ids)
        client = connect(deployment.cache.url, "chaos")
        schedule = Schedule(client, Table("inv", "stock"))
        self._application = Application(client, schedule, ledger, delays, options.seed)
        self._pulse = IdleProcesses(self._client, deployment.supervisor)
        self._recovery = Recovery(self._client, ledger, self._writer, self._pulse)
        self._application.put_all()
        for activity in (self._writer, self._observer):
            activity.start()
        wait_until(lambda: self._client.zcard("refreshed:") == options.rows, "all rows are cached")
        self._application.start()
        self._recovery.measure(self._check)
        self._say(f"{self._elapsed_s:6.1f} s  {options.rows} rows are cached; seed {options.seed}")

    def inject(self):
        """Inject each selected fault in a random order, and repeat until the time is over."""
        only = self._options.only or [""]
        faults = [fault for fault in FAULTS if any(part in fault.name for part in only)]
        while True:
            for fault in self._random.sample(faults, len(faults)):
                if self.report.lines.keys() >= {one.name for one in faults} and self._is_over:
                    return
                time.sleep(self._random.uniform(0.1, 0.5))
                self._inject(fault)

    def finish(self):
        """Stop the load, and check every row and every process once more."""
        self._application.stop()
        self._recovery.measure(self._check)
        self.report.violations += self._recovery.find_lost()[:5]
        for node in self._pulse.silent():
            # Celery 5.7: a dispatcher whose connection for commands hung works on, but answers no command.
            known = self.notes if node.startswith("celerybeat") else self.report.violations
            known.append(f"{node} does not answer `inspect ping` at the end")

    def stop(self):
        for name in ("_application", "_observer", "_writer"):
            if hasattr(self, name):
                getattr(self, name).stop()
        self._deployment.stop()

    @property
    def summary(self):
        exits = self._deployment.supervisor.exits
        return "\n".join(
            [
                f"{self._elapsed_s:.0f} s, {self._options.rows} rows, lease {self._deployment.lease_s:g} s, "
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
        what = fault.inject(self._deployment, self._random)
        recovered = self._recovery.measure(self._check)
        self.report.violations += [f"{fault.name}: {name} has stopped working" for name in recovered.idle]
        self.report.violations += recovered.lost[:5] + observer.back[back:][:5] + observer.undead[undead:][:5]
        after = read_stats(self._client)
        counts = {name: int(after.get(name, 0) - before.get(name, 0)) for name in after}
        line = FaultLine(
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
        for activity in (self._application, self._observer, self._writer, self._deployment.supervisor):
            activity.check()
