"""Commands health and doctor, and metrics for Prometheus."""

import json
import signal
import sys

import click

from rowcache_tasks.celery.application import COMMAND
from rowcache_tasks.errors import MissingExtraError
from rowcache_tasks.errors.text import one_line, show_count
from rowcache_tasks.ops.cli.access import FailedError, find_app, open_access
from rowcache_tasks.ops.cli.command import MOST, Seconds, command, json_option, say
from rowcache_tasks.ops.doctor import examine
from rowcache_tasks.ops.finding import warn
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.problem import find_problems
from rowcache_tasks.ops.snapshot import is_halted
from rowcache_tasks.schedule.process import DISPATCHER, WORKER


@command("health", "health --max-overdue 60 --json")
@click.option(
    "--max-overdue",
    type=Seconds(0, MOST),
    metavar="SECONDS",
    help="How long rows may wait. Default: one lease, at least 10 s.",
)
@click.option(
    "--liveness",
    is_flag=True,
    help="For checks that restart processes: exit status 1 only if nothing of any table was committed while Redis and "
    "the broker answer.",
)
@json_option
def health(max_overdue: float | None, liveness: bool, as_json: bool) -> None:
    """Exit with status 1 when rows are not refreshed. Also when they soon will not be. Names each cause."""
    if liveness:
        check_liveness(max_overdue, as_json)
        return
    with open_access() as access:
        found = read_overview(access.client, access.settings, access.broker)
        problems = list(find_problems(found, max_overdue))
    is_bad = any(problem.level == "fail" for problem in problems)
    if not access.broker and not is_bad:
        problems.append(warn(f"broker: not checked: start this as {COMMAND} health"))
    alive = [show_count(len(found.alive(kind)), kind) for kind in (DISPATCHER, WORKER)]
    text = "; ".join([describe(found), *alive])
    if as_json:
        listed = [problem.as_json() for problem in problems]
        click.echo(json.dumps({"ok": not is_bad, "text": one_line(text), "problems": listed}))
    for problem in () if as_json else problems:
        prefix = "rowcache_tasks" if problem.level == "fail" else "warn"
        say(f"{prefix}: {one_line(problem.text)}", err=is_bad)
    if is_bad:
        sys.exit(1)
    if not problems and not as_json:
        say(f"ok: {text}")


def check_liveness(max_overdue_s: float | None, as_json: bool) -> None:
    """Print one line; raise FailedError if nothing of any table was committed while the servers answer."""
    is_good, text = None, ""
    try:
        with open_access() as access:
            found = read_overview(access.client, access.settings, with_clients=False)
            limit_s = found.max_overdue_s if max_overdue_s is None else max_overdue_s
            is_bad = is_halted([*found.tables.values()], limit_s)
            if is_bad and access.broker and access.broker.read() is None:
                raise FailedError(access.broker.error)
        is_good, text = not is_bad, describe(found)
        if is_bad:
            shown = "; ".join(table.describe() for table in found.tables.values() if table.is_stalled(limit_s))
            text = f"stalled for over {limit_s:g} s: {shown}: are workers and dispatchers running?"
    except FailedError as error:
        text = one_line(error.message)
    if as_json:
        click.echo(json.dumps({"ok": is_good, "text": text}))
        sys.exit(is_good is False)
    if is_good is False:
        raise FailedError(text)
    click.echo(f"{'ok' if is_good else 'not known'}: {text}")


def describe(found: Overview) -> str:
    """Return the state of all tables in one line."""
    return "; ".join(map(found.describe, found.tables.values()))


@command("doctor", "doctor | grep -v ^ok")
@json_option
def doctor(as_json: bool) -> None:
    """Check every part of the deployment. Exit status 1 for a fault, with its remedy. Changes nothing."""
    found = []
    with open_access() as access:
        for finding in examine(access.settings, access.client, find_app()):
            found.append(finding)
            if not as_json:
                say(f"{finding.level:<4}  {one_line(finding.text)}")
    is_broken = any(finding.level == "fail" for finding in found)
    if as_json:
        click.echo(json.dumps({"ok": not is_broken, "findings": [finding.as_json() for finding in found]}))
    if is_broken:
        sys.exit(1)


@command("metrics --address 0.0.0.0 --port 9555")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9555, show_default=True, metavar="N", help="0 takes a free one."
)
@click.option("--address", default="127.0.0.1", show_default=True, help="No password: keep it private.")
def metrics(port: int, address: str) -> None:
    """Serve metrics to Prometheus. They are read from Redis at each scrape; run it once."""
    try:
        # An optional extra.
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415

        from rowcache_tasks.ops.metrics import RowCacheCollector  # noqa: PLC0415
    except ImportError as error:
        raise FailedError(str(MissingExtraError.of("metrics", "metrics", error))) from error
    # Process 1 of a container ignores SIGTERM without a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open_access() as access:
        registry = CollectorRegistry()
        registry.register(RowCacheCollector(access.client, access.settings, access.broker))
        try:
            server, thread = start_http_server(port, address, registry)
        except OSError as error:
            raise FailedError(
                f"cannot listen on {address}:{port}: {error}: choose another --address or --port"
            ) from error
        host = f"[{address}]" if ":" in address else address
        click.echo(f"metrics of {', '.join(access.settings.tables)} on http://{host}:{server.server_port}/metrics")
        try:
            thread.join()
        except KeyboardInterrupt:
            sys.exit(0)
