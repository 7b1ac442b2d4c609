"""Redis over TLS, with certificates of a private authority: used where it can be trusted, refused where it cannot."""

import pytest
import trustme
from support.deployment import with_login
from support.fork_server import run_forked
from support.project import CELERY
from support.tls_proxy import TlsProxy
from support.waiting import wait_until

from rowcache_tasks import RowCache

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def authority_file(authority, tmp_path):
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def proxy(deployment, authority):
    with TlsProxy(
        deployment.valkey.url_for(0).removeprefix("unix://").partition("?")[0], authority.issue_cert("localhost")
    ) as proxy:
        yield proxy


def tls_url(deployment, proxy, role, *, host="localhost", db=0, **options):
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return with_login(f"rediss://{host}:{proxy.port}/{db}?{query}", role, deployment.passwords[role])


@pytest.fixture
def environment(deployment, proxy, authority_file):
    """Return the variables of a process that reaches both cache and broker over TLS only; the rest as given."""

    def environment(role, **wrong):
        options = {"ssl_ca_certs": authority_file} | wrong
        return {
            "ROWCACHE_REDIS_URL": tls_url(deployment, proxy, role, **options),
            "CELERY_BROKER_URL": tls_url(deployment, proxy, role, db=1, **options),
        }

    return environment


def test_worker_dispatcher_application_and_reader_work_over_tls(deployment, proxy, environment):
    deployment.start_beat(**environment("dispatcher"))
    deployment.start_worker(**environment("worker"))
    deployment.run(
        "from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', '1', 0.5)",
        **environment("application"),
    )
    cache = RowCache("inv", url=environment("reader")["ROWCACHE_REDIS_URL"])
    wait_until(lambda: cache.get("1"), "the row is cached")
    deployment.sql("UPDATE inventory SET stock = 5 WHERE id = 1")
    wait_until(lambda: cache.get("1")["stock"] == 5, "the change is cached")
    assert proxy.handshakes > 5
    assert proxy.refusals == []
    wanted = {"default", "dispatcher", "worker", "reader"}  # the application has ended
    wait_until(lambda: {each["user"] for each in deployment.client.client_list()} == wanted, "each is logged in")
    cache.close()


def test_broker_is_derived_from_the_url_of_the_cache_with_its_authority(deployment, environment):
    url = environment("worker")["CELERY_BROKER_URL"]
    deployment.start_worker(ROWCACHE_REDIS_URL=url, CELERY_BROKER_URL="")
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")


@pytest.mark.parametrize(
    ("wrong", "variable", "program"),
    [
        ("authority", "ROWCACHE_REDIS_URL", "worker"),
        ("authority", "CELERY_BROKER_URL", "worker"),
        ("authority", "ROWCACHE_REDIS_URL", "beat"),
        ("authority", "CELERY_BROKER_URL", "beat"),
        ("host", "ROWCACHE_REDIS_URL", "beat"),
        ("host", "CELERY_BROKER_URL", "worker"),
        ("no authority", "ROWCACHE_REDIS_URL", "worker"),
        ("no authority", "CELERY_BROKER_URL", "beat"),
    ],
)
def test_server_that_cannot_be_trusted_is_refused_at_start_with_one_line(
    deployment, environment, tmp_path, program, variable, wrong
):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    options = {
        "authority": {"ssl_ca_certs": other},
        "host": {"host": "127.0.0.1"},
        "no authority": {"ssl_ca_certs": ""},
    }
    role = {"beat": "dispatcher"}.get(program, program)
    urls = environment(role)
    urls[variable] = environment(role, **options[wrong])[variable]
    if wrong == "no authority":
        urls[variable] = urls[variable].partition("?")[0]
    done = run_forked(
        [*CELERY, "--quiet", program, *(["--pidfile="] if program == "beat" else [])],
        env=deployment.env | urls,
    )
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    what = "Redis" if variable == "ROWCACHE_REDIS_URL" else "the broker"
    assert line.startswith(f"rowcache_tasks: {what} at rediss://***@")
    assert "certificate" in line
    assert ("127.0.0.1" in line.partition("cannot be trusted")[2]) == (wrong == "host"), line
