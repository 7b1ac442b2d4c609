"""Recorders of the SQL that an engine sends."""

import psycopg
from sqlalchemy import event


def record_statements(engine):
    """Return a list that collects each statement that SQLAlchemy sends from now on."""
    sent = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    return sent


def record_psycopg_queries(engine):
    """Return a list that collects each query of psycopg cursors from now on, sent by SQLAlchemy or not.

    The settings of a transaction are left out: they are sent with its query.
    """
    sent = []

    class Cursor(psycopg.Cursor):
        def execute(self, query, *args, **keywords):
            if "set_config" not in query:
                sent.append(query)
            return super().execute(query, *args, **keywords)

    event.listen(engine, "checkout", lambda connection, *_: setattr(connection, "cursor_factory", Cursor))
    return sent
