"""Instrumentor of OpenTelemetry: spans of the package, and of Celery."""

from collections.abc import Collection
from typing import Any

from rowcache_tasks import __version__
from rowcache_tasks.errors import MissingExtraError
from rowcache_tasks.schedule.trace import turn_on

try:
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
    from opentelemetry.trace import get_tracer
except ModuleNotFoundError as error:
    raise MissingExtraError.of("rowcache_tasks.celery.telemetry", "otel", error) from None


class RowCacheInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Turns the spans on, and those of Celery unless they are on; `opentelemetry-instrument` finds it by itself."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed."""
        return ("celery >= 5.6",)

    def _instrument(self, **kwargs: Any) -> None:
        turn_on(get_tracer("rowcache_tasks", __version__, kwargs.get("tracer_provider")))
        celery = CeleryInstrumentor()  # type: ignore[no-untyped-call]
        if not celery.is_instrumented_by_opentelemetry:
            celery.instrument(**kwargs)

    def _uninstrument(self, **_: Any) -> None:
        turn_on(None)
