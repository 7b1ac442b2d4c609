"""Command metrics: an exporter for Prometheus."""

import signal
import sys

import click

from rowcache_tasks.errors import MissingExtraError
from rowcache_tasks.ops.cli.access import FailedError, open_access


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9555, show_default=True, help="0 takes a free one.")
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
