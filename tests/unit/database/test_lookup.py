import pytest

from rowcache_tasks.database.lookup import NOT_UNIQUE, lookup


class Table:
    """Rows are (key, value); keys are equal when their lower-case forms are; `bad` ones make a SELECT fail."""

    def __init__(self, *rows, bad=()):
        self.rows = rows
        self.bad = bad
        self.batches = []

    def select(self, keys):
        self.batches.append(list(keys))
        if any(key in self.bad for key in keys):
            raise ZeroDivisionError
        wanted = {key.lower() for key in keys}
        return [row for row in self.rows if row[0].lower() in wanted]

    def read(self, keys):
        return lookup({key: key for key in keys}, self.select, lambda row: row[0], reason_of)


def reason_of(error):
    return "bad" if type(error) is ZeroDivisionError else None


def test_good_batch_is_one_select():
    table = Table(("a", 1), ("b", 2))
    found = table.read("abc")
    assert found.rows == {"a": ("a", 1), "b": ("b", 2)}
    assert found.errors == {}
    assert table.batches == [["a", "b", "c"], ["c"]], "c may be another text for one of the others"


def test_keys_that_are_not_text_are_selected_once():
    batches = []

    def select(keys):
        batches.append(list(keys))
        return [(1, "one")]

    found = lookup({"1": 1, "2": 2}, select, lambda row: row[0], reason_of)
    assert found.rows == {"1": (1, "one")}
    assert found.missing == ["2"]
    assert batches == [[1, 2]]


def test_row_goes_to_each_of_the_keys_that_the_database_calls_equal():
    table = Table(("A", 1), ("b", 2))
    assert table.read(["a", "A", "b", "B", "c"]).rows.keys() == {"a", "A", "b", "B"}


@pytest.mark.parametrize("bad", ["a", "h", "d", "ah", "abcdefgh", "bg"])
def test_only_bad_rows_are_errors(bad):
    table = Table(*((key, 0) for key in "abcdefgh"), bad=bad)
    found = table.read("abcdefgh")
    assert found.errors == dict.fromkeys(bad, "bad")
    assert found.rows.keys() == set("abcdefgh") - set(bad)


def test_one_bad_row_costs_two_statements_a_halving():
    keys = [f"{i:04}" for i in range(1024)]
    table = Table(*((key, 0) for key in keys), bad=[keys[123]])
    assert len(table.read(keys).rows) == 1023
    assert len(table.batches) == 1 + 2 * 10


def test_error_of_the_whole_database_is_passed_on_at_once():
    batches = []

    def select(keys):
        batches.append(keys)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        lookup({"a": "a", "b": "b"}, select, str, reason_of)
    assert len(batches) == 1


def test_row_whose_key_the_database_calls_equal_goes_to_the_key_asked_for():
    table = Table(("Ann", 1), ("bob", 2), ("Eve", 3))
    found = table.read(["ann", "Ann", "BOB", "Eve", "mallory"])
    assert found.rows == {"ann": ("Ann", 1), "Ann": ("Ann", 1), "BOB": ("bob", 2), "Eve": ("Eve", 3)}
    assert found.errors == {}


def test_as_many_rows_as_keys_need_not_be_theirs():
    assert Table(("Ann", 1), ("bob", 2)).read(["ann", "bob"]).rows == {"ann": ("Ann", 1), "bob": ("bob", 2)}
    assert Table(("a", 1), ("a", 2)).read(["a", "b"]).errors == {"a": NOT_UNIQUE}


def test_key_of_several_rows_is_an_error():
    for keys in ("a", "ab"):
        assert Table(("a", 1), ("a", 2), ("b", 3)).read(keys).errors == {"a": NOT_UNIQUE}
    assert Table(("a", 1), ("A", 2), ("b", 3)).read(["b", "a"]).rows == {"a": ("a", 1), "b": ("b", 3)}


def test_row_ids_of_one_key_get_the_same_row_from_one_select():
    table = Table(("a", 1))
    found = lookup({"x": "a", "y": "a", "z": "b"}, table.select, lambda row: row[0], reason_of)
    assert found.rows == {"x": ("a", 1), "y": ("a", 1)}
    assert found.missing == ["z"]
    assert table.batches == [["a", "a", "b"], ["b"]]


def test_nothing_is_selected_for_no_keys():
    table = Table(("a", 1))
    assert table.read("").rows == {}
    assert table.batches == []
