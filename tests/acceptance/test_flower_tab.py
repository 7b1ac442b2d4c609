"""The tab of the row cache in Flower, asked of a real Flower over HTTP, and seen in a real browser."""

import json
import re
import urllib.error
from functools import partial
from pathlib import Path

import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists()), None)
PATHS = ("/rowcache", "/rowcache/figures", "/rowcache/row?table=inv&row_id=1", "/rowcache/failing?table=inv")
BOLD = "<b onclick=alert(1)>"
CONFIG = f"""
import os
rowcache_redis_url = os.environ["ROWCACHE_REDIS_URL"]
rowcache_database_url = os.environ["ROWCACHE_DATABASE_URL"]
rowcache_tables = {{
    "inv": {{"table": "inventory", "namespace": "", "max_staleness": 60}},
    "{BOLD}": {{"table": "inventory", "namespace": "bold"}},
}}
"""
FAILURE = json.dumps({"failures": 3, "error": "<script>alert(2)</script> has no JSON form", "at": 1.0})
OWN = """
import os
from celery import Celery
from rowcache_tasks import install

app = Celery("shop", broker=os.environ["CELERY_BROKER_URL"])
app.conf.update(rowcache_redis_url=os.environ["ROWCACHE_REDIS_URL"], rowcache_tables={"inv": {"table": "inventory"}})
install(app)
"""


def figures(fetch, table="inv"):
    return json.loads(fetch(f"/rowcache/figures?table={table}"))


def refused(fetch, *arguments, **given):
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(*arguments, **given)
    caught.value.close()
    return caught.value.code


def test_tab_has_the_figures_of_status_and_the_lines_of_explain_behind_the_login(deployment):
    deployment.schedule.put_rows({str(n): (3600, 0) for n in range(1, 101)})
    fetch = deployment.start_flower()
    assert [refused(fetch, path, headers={}) for path in PATHS] == [401] * len(PATHS)
    found = wait_until(lambda: (found := figures(fetch))["status"] and found, "the first sample is there")
    done = run_forked([*CELERY, "rowcache", "status", "--json"], env=deployment.env_of("operator"))
    shown = json.loads(done.stdout)
    moving = dict.fromkeys(("overdue_s", "waiting_s", "stalled", "rate"))
    assert found["status"]["tables"]["inv"] | moving == shown["tables"]["inv"] | moving
    for name in ("queues", "dispatchers", "workers"):
        assert found["status"][name] == shown[name]
    assert found["status"]["problems"][:2] == shown["problems"][:2], "no dispatcher, no worker"
    (point,) = [dict(zip(found["series"], values, strict=True)) for values in found["points"][:1]]
    assert (point["overdue"], point["failing"], point["rate"]) == (100, 0, None)
    head, *facts = json.loads(fetch("/rowcache/row?table=inv&row_id=42"))["lines"]
    assert head.startswith("row 42 of inv: no dispatcher: ")
    assert "database  has the row with another value" in "".join(facts)
    assert refused(fetch, "/rowcache/row?table=no&row_id=42") == 400


def test_actions_need_a_login_and_the_same_site_and_are_off_in_read_only_mode(deployment):
    deployment.schedule.put_rows({"1": (3600, 0), "2": (3600, 0)})
    deployment.client.zincrby("schedule:", 3600, "1")
    deployment.client.hset("failures:", "1", FAILURE)
    fetch, read_only = deployment.start_flower(), deployment.start_flower("read_only", "--read-only")
    path, data = "/rowcache/api/pause", {"table": "inv"}
    login = {"Authorization": "Basic b3BlcmF0b3I6cGFzcw=="}
    assert refused(fetch, path) == 405
    assert refused(fetch, path, headers={}, data=data) == 401
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://elsewhere"}):
        assert refused(fetch, path, headers=login | foreign, data=data) == 403
    assert refused(read_only, path, data=data) == 403
    assert "No actions: Flower is read-only" in read_only("/rowcache")
    deployment.start("open", "flower", "--port=0")  # without a login, on the loopback interface
    found = wait_until(lambda: re.search(r"Visit me at (\S+)", deployment.log("open")), "it says where it listens")
    open_to_all = partial(fetch, url=found[1])
    assert "No actions: Flower has no login" in open_to_all("/rowcache")
    assert refused(open_to_all, path, data=data) == 401
    assert not deployment.client.hexists("state:", "paused")

    assert json.loads(fetch(path, data=data)) == {"message": "inv: paused"}
    assert deployment.client.hexists("state:", "paused")
    wait_until(lambda: figures(read_only)["status"]["tables"]["inv"]["paused_at"], "the other Flower shows the pause")
    fetch("/rowcache/api/resume", data=data)
    assert not deployment.client.hexists("state:", "paused")
    assert json.loads(fetch("/rowcache/api/refresh-failing", data=data)) == {"message": "inv: 1 row due now"}
    assert deployment.client.zscore("schedule:", "1") <= deployment.client.time()[0] + 1


@pytest.mark.parametrize("missing", ["", "del sys.modules['flower'].views.BaseHandler"])
def test_application_of_a_user_has_the_tab_unless_flower_is_another(deployment, missing):
    (deployment.folder / "shop.py").write_text(f"{OWN}\nimport sys\n{missing}\n")
    deployment.application, deployment.cwd = "shop", deployment.folder
    fetch = deployment.start_flower("shop")
    assert fetch("/workers")
    log = deployment.log("shop")
    if missing:
        assert refused(fetch, "/rowcache") == 404
        assert log.count("flower_tab_off: this version of Flower is not one that the tab was made for") == 1
        assert "rowcache" not in fetch("/workers").lower()
    else:
        assert "flower_tab_off" not in log
        assert 'href="/rowcache"' in fetch("/workers")
        assert wait_until(lambda: figures(fetch)["status"], "the first sample is there")["tables"].keys() == {"inv"}


@pytest.fixture
def page(deployment):
    """Page of a browser that is logged in. The errors and dialogs in it, and requests to other places, are empty."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 starts its own process

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        login = {"username": "operator", "password": "pass"}
        page = browser.new_page(http_credentials=login, viewport={"width": 1400, "height": 900}, color_scheme="light")
        page.on("console", lambda message: found.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: found.append(str(error)))
        page.on("dialog", lambda dialog: (found.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: None if "//127.0.0.1:" in request.url else found.append(request.url))
        page.set_default_timeout(60_000)
        yield page
        browser.close()
    assert found == []


IMAGE = "<img src=x onerror=alert(3)>"


def test_every_page_and_button_in_a_browser_in_light_and_dark_wide_and_narrow(deployment, page):
    deployment.configure(CONFIG)
    deployment.start_worker()
    deployment.start_beat()
    fetch = deployment.start_flower()
    wait_until(lambda: len(deployment.client.zrange("processes:", 0, -1)) == 2, "worker and dispatcher are alive")
    deployment.schedule.put_rows({"1": (5, 0), "2": (5, 0), IMAGE: (5, 0)})
    wait_until(lambda: deployment.stat("failed"), "the row that has no number as its id has failed")

    page.goto(fetch.url)
    page.get_by_role("link", name="Tasks").click()
    page.get_by_text("1 FAILED").first.wait_for()
    page.get_by_role("link", name="Broker").click()
    page.get_by_role("link", name="Row cache").click()
    cards = page.locator("#rowcache-cards")
    cards.get_by_text("Failing rows").wait_for()
    wait_until(lambda: "Workers1" in cards.text_content() and "Failing rows1" in cards.text_content(), "it updates")
    assert page.locator("#rowcache-tables tbody tr").count() == 2
    assert IMAGE in page.locator("#rowcache-failing li").first.text_content()
    assert page.locator("#rowcache-charts path[d*=M]").count() >= 9, "each chart has its lines"

    page.get_by_role("button", name="Refresh failing rows").click()
    page.get_by_text("inv: 1 row due now").wait_for()
    page.get_by_label("Row id").fill(IMAGE)
    page.get_by_role("button", name="Explain").click()
    page.get_by_text(f"row {IMAGE} of inv: failing:").wait_for()
    page.get_by_role("button", name=BOLD).click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_text(f"{BOLD}: not paused").wait_for()
    wait_until(lambda: page.locator("#rowcache-badges").text_content() == "", "a table without a promise has no mark")

    colours = set()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (1400, 400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width, "nothing is cut off"
        colours.add(page.evaluate("getComputedStyle(document.querySelector('.rc-card')).backgroundColor"))
    assert len(colours) == 2

    banner = page.locator("#rowcache-banner")
    assert banner.is_hidden()
    deployment.valkey.stop()
    banner.get_by_text("does not answer").wait_for()
    deployment.valkey.start()
    banner.wait_for(state="hidden")
