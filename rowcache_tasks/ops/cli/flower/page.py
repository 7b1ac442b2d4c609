"""Pages of the tab: the view, its figures, one row, failing rows, and the actions."""

from collections.abc import Callable
from typing import Any

import redis
from flower.api import BaseApiHandler  # type: ignore[import-untyped]
from flower.views import BaseHandler  # type: ignore[import-untyped]
from tornado.ioloop import IOLoop
from tornado.web import HTTPError, authenticated

from rowcache_tasks.errors import ArgumentError, RowCacheError
from rowcache_tasks.errors.text import one_line, show_count
from rowcache_tasks.ops.cli.access import describe_redis_error
from rowcache_tasks.ops.cli.explain import read_explanation
from rowcache_tasks.ops.cli.flower.sampler import INTERVAL_S, Sampler
from rowcache_tasks.ops.cli.row import find_worst, release_failing
from rowcache_tasks.schedule.arguments import parse_row_id

LISTED = 10  # failing rows that are listed


class Part:
    """Base of all pages: the sampler, and answers made by a thread beside the loop of Tornado."""

    sampler: Sampler

    def initialize(self, sampler: Sampler) -> None:
        """Keep the sampler."""
        self.sampler = sampler

    async def answer(self: Any, make: Callable[[], dict[str, Any]]) -> None:
        """Answer with JSON; with one line of error when `make` raises one of ours, or one of Redis."""
        try:
            reply = await IOLoop.current().run_in_executor(None, make)
        except ArgumentError as error:
            self.set_status(400)
            reply = {"error": one_line(str(error))}
        except redis.RedisError as error:
            self.set_status(503)
            reply = {"error": one_line(describe_redis_error(error, self.sampler.access.settings))}
        except RowCacheError as error:
            self.set_status(500)
            reply = {"error": one_line(str(error))}
        self.finish(reply)


class View(Part, BaseHandler):  # type: ignore[misc]
    """The page itself; its script asks for the rest."""

    @authenticated
    def get(self) -> None:
        """Render the page."""
        options = self.application.options
        is_open = options.basic_auth or options.auth or self.unauthenticated_api
        self.render(
            "rowcache.html",
            interval_s=INTERVAL_S,
            tables=list(self.sampler.access.settings.tables),
            why_no_action="Flower is read-only" if options.read_only else "" if is_open else "Flower has no login",
        )


class Figures(Part, BaseHandler):  # type: ignore[misc]
    """Figures of `status`, and those of one table for charts."""

    @authenticated
    def get(self) -> None:
        """Answer with the last sample and the points since a time."""
        try:
            since = float(self.get_query_argument("since", "0"))
        except ValueError as error:
            raise HTTPError(400, "since must be a number") from error
        self.set_header("Content-Type", "application/json")
        self.finish(self.sampler.describe(self.get_query_argument("table", "", strip=False), since))


class Row(Part, BaseHandler):  # type: ignore[misc]
    """Explanation of one row, as by `rowcache explain`."""

    @authenticated
    async def get(self) -> None:
        """Answer with its lines."""
        table, row_id = (self.get_query_argument(name, "", strip=False) for name in ("table", "row_id"))
        access = self.sampler.access
        await self.answer(
            lambda: {"lines": read_explanation(access, access.settings.table(table), parse_row_id(row_id)).lines()}
        )


class Failing(Part, BaseHandler):  # type: ignore[misc]
    """The rows of a table that fail most often."""

    @authenticated
    async def get(self) -> None:
        """Answer with some rows and their reasons."""
        access, table = self.sampler.access, self.get_query_argument("table", "", strip=False)

        def find() -> dict[str, Any]:
            worst = find_worst(access, access.settings.table(table), LISTED)[0]
            return {"rows": [[failure.row_id, failure.failures, one_line(failure.error)] for failure in worst]}

        await self.answer(find)


class Action(Part, BaseApiHandler):  # type: ignore[misc]
    """Actions, under the conditions of those of Flower: a login, no read-only mode, no request of another site."""

    @authenticated
    async def post(self, action: str) -> None:
        """Do it; answer with a line."""
        if self.application.options.read_only:
            raise HTTPError(403, "Read only mode is enabled")
        access, table = self.sampler.access, self.get_body_argument("table", strip=False)

        def act() -> dict[str, Any]:
            if action == "refresh-failing":
                text = f"{show_count(release_failing(access, access.settings.table(table)), 'row')} due now"
            else:
                access.table_state(table).pause_table(action == "pause")
                text = "paused" if action == "pause" else "not paused"
            self.sampler.hurry()
            return {"message": f"{table}: {text}"}

        await self.answer(act)


PAGES = (
    (r"/rowcache", View, "rowcache"),
    (r"/rowcache/figures", Figures, "rowcache-figures"),
    (r"/rowcache/row", Row, "rowcache-row"),
    (r"/rowcache/failing", Failing, "rowcache-failing"),
    (r"/rowcache/api/(pause|resume|refresh-failing)", Action, "rowcache-action"),
)
"""Pattern, page, name."""
