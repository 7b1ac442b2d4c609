import itertools

import pytest
from deployment import Deployment

from rowcache_tasks.embedded import Valkey

numbers = itertools.count()


@pytest.fixture
def deployment(postgres, tmp_path):
    """Servers with an empty cache and a table inventory of the rows 1 to 1000; no process of ours runs yet."""
    with Valkey(persistent=True) as valkey:
        deployment = Deployment(valkey, postgres.create_database(f"acceptance_{next(numbers)}"), tmp_path)
        deployment.sql("CREATE TABLE inventory (id bigint PRIMARY KEY, name text, stock int NOT NULL)")
        deployment.sql("INSERT INTO inventory SELECT n, 'item ' || n, 0 FROM generate_series(1, 1000) n")
        yield deployment
        deployment.stop()
