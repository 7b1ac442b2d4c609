"""Own the command that serves metrics to Prometheus until it is stopped."""

import signal
import sys

import click

from rowcache_tasks.ops.cli.session import FailedError, open_session

__all__ = ["metrics"]


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9555, show_default=True, help="0 takes a free one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="There is no password: do not make it public.")
def metrics(port: int, address: str) -> None:
    """Serve metrics to Prometheus, read from Redis at each scrape; one such process is enough."""
    try:
        # An optional extra.
        from rowcache_tasks.ops.metrics import MetricsServer, RowCacheCollector  # noqa: PLC0415
    except ImportError as error:
        raise FailedError(
            f"metrics needs the module {error.name!r}, which is not installed: pip install 'rowcache-tasks[metrics]'"
        ) from error
    # As process 1 of a container, a program without a handler is not stopped by SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open_session() as session:
        collector = RowCacheCollector(session.client, session.settings.tables.values(), session.settings.lease_s)
        try:
            server = MetricsServer(collector, address, port)
        except OSError as error:
            raise FailedError(
                f"cannot listen on {address}:{port}: {error}: choose another --address or --port"
            ) from error
        try:
            click.echo(f"metrics of {', '.join(session.settings.tables)} on {server.url}")
            server.wait()
        except KeyboardInterrupt:
            pass
        finally:
            server.close()
