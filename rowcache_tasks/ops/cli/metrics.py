"""Command metrics: an exporter for Prometheus."""

import signal
import sys

import click

from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.ops.cli.access import FailedError, find_app, open_access


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9555, show_default=True, help="0 takes a free one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="No password: keep it private.")
@click.pass_context
def metrics(ctx: click.Context, port: int, address: str) -> None:
    """Serve metrics to Prometheus. They are read from Redis at each scrape; run it once."""
    try:
        # An optional extra.
        from rowcache_tasks.ops.metrics import MetricsServer, RowCacheCollector  # noqa: PLC0415
    except ImportError as error:
        raise FailedError(
            f"metrics needs the module {error.name!r}, which is not installed: pip install 'rowcache-tasks[metrics]'"
        ) from error
    # Process 1 of a container ignores SIGTERM without a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = find_app(ctx)
    with open_access() as access:
        collector = RowCacheCollector(access.client, access.settings, BrokerState(app) if app else None)
        try:
            server = MetricsServer(collector, address, port)
        except OSError as error:
            raise FailedError(
                f"cannot listen on {address}:{port}: {error}: choose another --address or --port"
            ) from error
        try:
            click.echo(f"metrics of {', '.join(access.settings.tables)} on {server.url}")
            server.wait()
        except KeyboardInterrupt:
            pass
        finally:
            server.close()
