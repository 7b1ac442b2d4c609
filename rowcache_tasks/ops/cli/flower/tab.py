"""Tab of the row cache in Flower: its pages among those of Flower, and the link in the navigation."""

import logging
from pathlib import Path

from celery import Celery
from tornado.options import options
from tornado.template import DictLoader
from tornado.web import StaticFileHandler, url

from rowcache_tasks.celery.application import applications, settings_of
from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.celery.flower import mark_failures
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import one_line
from rowcache_tasks.ops.cli.access import Access
from rowcache_tasks.ops.cli.flower.sampler import Sampler
from rowcache_tasks.schedule.connection import connect

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
PAGE = "rowcache.html"
NEEDED = {
    "base.html": ("{% block title %}", "{% block navbar %}", "{% block container %}", "{% block extra_scripts %}"),
    "navbar.html": ("active_tab", "</ul>"),
}
LINK = """<li class="nav-item">
  <a class="nav-link{% if active_tab == 'rowcache' %} active{% end %}"
    {% if active_tab == 'rowcache' %}aria-current="page"{% end %} href="{{ reverse_url('rowcache') }}">Row cache</a>
</li>
</ul>"""


def add_tab(app: Celery) -> None:
    """Add the tab to Flower before it starts. Where that is not possible, log one line and leave Flower as it is."""
    if app not in applications:
        return
    try:
        if options.format_task is None:
            options.format_task = mark_failures
        add_pages(Access(settings := settings_of(app), connect(settings.redis_url, "flower"), BrokerState(app)))
    except ConfigError as error:
        logger.warning("flower_tab_off: %s", error)
    except Exception as error:  # noqa: BLE001 Flower has no interface for this, and another version may differ anywhere
        reason = one_line(f"{type(error).__name__}: {error}")
        logger.warning("flower_tab_off: this version of Flower is not one that the tab was made for: %s", reason)


def add_pages(access: Access) -> None:
    """Add the pages. Raises an error, and changes nothing, when a part of Flower is not as expected."""
    from flower import urls  # type: ignore[import-untyped] # noqa: PLC0415 may be missing

    from rowcache_tasks.ops.cli.flower.page import PAGES  # noqa: PLC0415 subclasses of those of Flower

    if urls.handlers[-1][0] != ".*" or "template_loader" in urls.settings:
        raise LookupError("flower.urls has other handlers or settings")
    for name in ("read_only", "basic_auth", "auth"):
        options[name]
    loader = DictLoader(read_templates(Path(urls.settings["template_path"])))
    loader.load(PAGE)
    sampler = Sampler(access)
    pages = [url(pattern, page, {"sampler": sampler}, name) for pattern, page, name in PAGES]
    pages.append(url(r"/rowcache/static/(.+)", StaticFileHandler, {"path": str(STATIC)}, "rowcache-static"))
    urls.handlers[-1:-1] = pages
    urls.settings["template_loader"] = loader
    sampler.start()


def read_templates(folder: Path) -> dict[str, str]:
    """Return the templates of Flower with the link in its navigation, and that of the tab."""
    templates = {path.name: path.read_text("utf-8") for path in folder.glob("*.html")}
    for name, parts in NEEDED.items():
        if lacking := [part for part in parts if part not in templates[name]]:
            raise LookupError(f"{name} has no {lacking[0]}")
    templates["navbar.html"] = templates["navbar.html"].replace("</ul>", LINK, 1)
    return templates | {PAGE: (Path(__file__).parent / PAGE).read_text("utf-8")}
