"""The services of examples/ as processes, and the programs that write and read meanwhile."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress

from sqlalchemy import make_url
from support.forked_child import python_child
from support.free_port import free_port
from support.project import ROOT
from support.waiting import wait_until

from demo.servers import Child

SERVERS = {
    "fastapi": ["uvicorn", "examples.fastapi_shop:app", "--no-access-log", "--port={port}"],
    "flask": ["waitress", "--threads=16", "--listen=127.0.0.1:{port}", "--call", "examples.flask_shop:create_app"],
}
"""Service -> the module that serves it, and its arguments."""

TABLE = """
CREATE TABLE inventory (
    id         bigint PRIMARY KEY,
    name       text NOT NULL,
    quantity   integer NOT NULL,
    price      numeric(10, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
)
"""
ROWS = "INSERT INTO inventory SELECT id, 'item ' || id, 0, id * 31 % 1000 + 0.99 FROM generate_series(1, {}) id"
SALE = """
\\set id random(1, {})
UPDATE inventory SET quantity = quantity + 1, price = (id * 31 + (quantity + 1) * 17) % 1000 + 0.99, updated_at = now()
WHERE id = :id;
"""


def price_of(item_id, quantity):
    """Return the price that belongs to an item and its quantity, as JSON has it."""
    return f"{(item_id * 31 + quantity * 17) % 1000}.99"


def create_items(deployment, rows):
    """Create the table with the items 1 to `rows`."""
    deployment.sql("DROP TABLE IF EXISTS inventory")
    deployment.sql(TABLE)
    deployment.sql(ROWS.format(rows))


def start_service(deployment, name, **env):
    """Start an example and wait until it answers; return its URL and its process."""
    port = free_port()
    module, *arguments = (argument.format(port=port) for argument in SERVERS[name])
    env = deployment.env_of("filler", SHOP_DATABASE_URL=deployment.database_url, **env)
    service = python_child(
        [sys.executable, "-m", module, *arguments], env=env, log=deployment.folder / f"{name}.log", cwd=ROOT
    )
    service.start()
    deployment.children.append(service)

    def answers():
        assert service.is_running, service.log_tail()
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), 1).close() is None

    wait_until(answers, f"{name} answers")
    return f"http://127.0.0.1:{port}", service


def start_pgbench(deployment, postgres, rows, *, rate, seconds):
    """Sell items: `rate` a second, for `seconds`."""
    script = deployment.folder / "sale.sql"
    script.write_text(SALE.format(rows))
    database = make_url(deployment.database_url).database
    options = ("--no-vacuum", f"--rate={rate}", f"--time={seconds}", "--client=2", f"--file={script}")
    pgbench = Child(postgres.tool("pgbench", "-d", database, *options), log=deployment.folder / "pgbench.log")
    pgbench.start()
    deployment.children.append(pgbench)
    return pgbench


def run_client(url, *arguments):
    """Run example_client.py against a service; return the object that it printed."""
    command = [sys.executable, "-m", "support.example_client", url, *arguments]
    done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, check=False, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(url, path, change=None, method="PUT"):
    """Send a GET, or a PUT or POST with `change`; return the status, the headers and the JSON of the answer."""
    body = None if change is None else json.dumps(change).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url + path, body, headers, method="GET" if body is None else method)
    try:
        reply = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        reply = error
    with reply:
        return reply.status, reply.headers, json.loads(reply.read())
