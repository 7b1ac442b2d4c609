"""Fixture of acceptance tests: a deployment of real processes."""

import os
import subprocess

import pytest
import redis
from support.deployment import Deployment, with_login
from support.project import ROOT

from demo.servers import Valkey

ROLES = ("reader", "application", "filler", "dispatcher", "worker", "operator")
PASSWORDS = {role: f"{role}:p@ss/w%rd#?" for role in ROLES}
"""Each has the characters with a meaning in a URL."""

EMPTY = """
DO $$ DECLARE name text; BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
    GRANT USAGE ON SCHEMA public TO public;
END $$
"""
READER = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rowcache_reader') THEN
        CREATE ROLE rowcache_reader LOGIN;
        ALTER ROLE rowcache_reader SET default_transaction_read_only = on;
    END IF;
END $$;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO rowcache_reader
"""


@pytest.fixture(scope="session")
def users():
    """ACL file as deploy/users.sh writes it; the tests are the default user, without a password."""
    env = {f"VALKEY_{role.upper()}_PASSWORD": password for role, password in PASSWORDS.items()}
    env |= {"VALKEY_PASSWORD": "unused", "VALKEY_BROKER_DATABASE": "1"}
    command = ["sh", str(ROOT / "deploy" / "users.sh")]
    printed = subprocess.run(command, env=os.environ | env, check=True, capture_output=True, text=True).stdout
    _, *others = printed.splitlines()
    return "\n".join(["user default on nopass ~* &* +@all", *others, ""])


@pytest.fixture(scope="session")
def database_url(postgres):
    return postgres.create_database("acceptance")


@pytest.fixture
def deployment(database_url, users, tmp_path):
    """Deployment with an empty cache and a table inventory of the rows 1 to 1000; no process is started yet.

    Each process has the login of its role in Redis, and a role in the database that can only read.
    """
    users_file = tmp_path / "users.acl"
    users_file.write_text(users)
    with Valkey(persistent=True, args=("--aclfile", str(users_file))) as valkey:
        reader_url = with_login(database_url.replace("postgres@", "", 1), "rowcache_reader", PASSWORDS["reader"])
        deployment = Deployment(valkey, database_url, tmp_path, passwords=PASSWORDS, reader_url=reader_url)
        deployment.sql(EMPTY)
        deployment.sql(READER)
        deployment.sql("CREATE TABLE inventory (id bigint PRIMARY KEY, name text, stock int NOT NULL)")
        deployment.sql("INSERT INTO inventory SELECT n, 'item ' || n, 0 FROM generate_series(1, 1000) n")
        yield deployment
        refusals = ask_refusals(deployment)
        deployment.stop()
        assert refusals == [], "the roles of deploy/users.sh are allowed all that they need"
        assert deployment.leaks() == []


def ask_refusals(deployment):
    try:
        return deployment.refusals()
    except redis.ConnectionError:
        return []  # the test has left no server
