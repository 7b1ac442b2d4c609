"""Texts for people are one bounded, printable line each, without passwords."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_values import any_object, reproducible, texts

from rowcache_tasks.errors.text import hide_logins, one_line, redact, shorten, show_duration, show_text, suggest


@reproducible
@given(texts | st.text().map(lambda text: text * 500), st.integers(1, 300))
def test_any_message_becomes_one_bounded_printable_line(text, limit):
    line = one_line(text, limit)
    assert line.isprintable()
    assert len(line) <= limit


@reproducible
@given(any_object, texts)
def test_any_value_is_shown_in_one_bounded_printable_line(value, text):
    for shown, most in ((shorten(value), 80), (show_text(text), 3000), (redact(text), 1000)):
        assert shown.isprintable()
        assert len(shown) <= most


def test_lines_are_joined_and_control_characters_escaped():
    assert one_line(" a  b \r\n\n c\x1b[2J\t\udcff ") == r"a  b c\x1b[2J\t\udcff"


@pytest.mark.parametrize("value", ["redis://u:secret@host", ["x", "amqp://u:sec@ret@host"], b"redis://:secret@host"])
def test_login_of_a_url_within_a_value_is_hidden(value):
    assert "sec" not in shorten(value)
    assert "host" in shorten(value)


def test_long_hostile_texts_take_no_time():
    for text in ("://" * 1_000_000, " " * 1_000_000, "password=" * 100_000):
        assert len(shorten(text)) <= 80
        assert len(one_line(text)) <= 1000


def test_unknown_name_gets_the_nearest_one_or_all():
    assert suggest("colums", ["table", "columns"]) == ": did you mean columns?"
    assert suggest(5, ["table", "columns"]) == ": allowed are table, columns"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0124, "12 ms"), (3.4, "3.4 s"), (300, "5 min"), (25_560, "7.1 h"), (259_200, "3.0 d")],
)
def test_duration_has_the_unit_that_fits_it(seconds, shown):
    assert show_duration(seconds) == shown


def test_login_is_hidden_whatever_the_driver_calls_it_and_with_an_at_sign_in_it():
    assert redact("mysql+pymysql://db/shop?user=x&passwd=secret&charset=utf8") == (
        "mysql+pymysql://db/shop?user=x&passwd=***&charset=utf8"
    )
    text = "redis://:sec@ret@a/0 and amqp://u:secret@b//: refused"
    assert hide_logins(text) == "redis://***@a/0 and amqp://***@b//: refused"
