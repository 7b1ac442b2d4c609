"""Fixtures of a session maker with the hook."""

import pytest
from support.orm_models import User


@pytest.fixture
def db(session_maker, listen):
    """Session maker with the hook on all classes."""
    listen(session_maker)
    return session_maker


@pytest.fixture
def users(db, touched_rows):
    """Store three users, cached by their nick; two more are scheduled."""
    touched_rows.schedule("users", "amy", "ann", "bob", "eve", "zoe")
    with db.begin() as session:
        session.add_all([User(user_id=1, nick="ann"), User(user_id=2, nick="bob"), User(user_id=3, nick="eve")])
    assert touched_rows.touched() == {"users": ["ann", "bob", "eve"]}
