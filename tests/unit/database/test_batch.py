import pytest

from rowcache_tasks.database.batch import NOT_UNIQUE, Batch


class Table:
    """Rows are (key, value); keys are equal when their lower-case forms are; `bad` ones make a question fail."""

    def __init__(self, *rows, bad=()):
        self.rows = rows
        self.bad = bad
        self.questions = []

    def select(self, keys):
        self.questions.append(list(keys))
        if any(key in self.bad for key in keys):
            raise ZeroDivisionError
        wanted = {key.lower() for key in keys}
        return [row for row in self.rows if row[0].lower() in wanted]

    def read(self, keys):
        batch = Batch(
            self.select, lambda row: row[0], lambda error: "bad" if type(error) is ZeroDivisionError else None
        )
        batch.read(list(keys))
        return batch


def test_good_batch_is_one_question():
    table = Table(("a", 1), ("b", 2))
    batch = table.read("abc")
    assert batch.rows == {"a": ("a", 1), "b": ("b", 2)}
    assert batch.reasons == {}
    assert table.questions == [["a", "b", "c"], ["c"]], "c may be another text for one of the others"


def test_keys_that_are_no_text_are_asked_for_once():
    questions = []

    def select(keys):
        questions.append(list(keys))
        return [(1, "one")]

    batch = Batch(select, lambda row: row[0], lambda _error: None)
    batch.read([1, 2])
    assert batch.rows == {1: (1, "one")}
    assert questions == [[1, 2]]


def test_row_goes_to_each_of_the_keys_that_the_database_calls_equal():
    table = Table(("A", 1), ("b", 2))
    assert table.read(["a", "A", "b", "B", "c"]).rows.keys() == {"a", "A", "b", "B"}


@pytest.mark.parametrize("bad", ["a", "h", "d", "ah", "abcdefgh", "bg"])
def test_only_bad_rows_have_a_reason(bad):
    table = Table(*((key, 0) for key in "abcdefgh"), bad=bad)
    batch = table.read("abcdefgh")
    assert batch.reasons == dict.fromkeys(bad, "bad")
    assert batch.rows.keys() == set("abcdefgh") - set(bad)


def test_one_bad_row_costs_two_questions_a_halving():
    keys = [f"{i:04}" for i in range(1024)]
    table = Table(*((key, 0) for key in keys), bad=[keys[123]])
    assert len(table.read(keys).rows) == 1023
    assert len(table.questions) == 1 + 2 * 10


def test_error_of_the_whole_database_is_passed_on_at_once():
    questions = []

    def select(keys):
        questions.append(keys)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        Batch(select, str, lambda _error: None).read(["a", "b"])
    assert len(questions) == 1


def test_row_whose_key_the_database_calls_equal_goes_to_the_key_asked_for():
    table = Table(("Ann", 1), ("bob", 2), ("Eve", 3))
    batch = table.read(["ann", "Ann", "BOB", "Eve", "mallory"])
    assert batch.rows == {"ann": ("Ann", 1), "Ann": ("Ann", 1), "BOB": ("bob", 2), "Eve": ("Eve", 3)}
    assert batch.reasons == {}


def test_as_many_rows_as_keys_need_not_be_theirs():
    assert Table(("Ann", 1), ("bob", 2)).read(["ann", "bob"]).rows == {"ann": ("Ann", 1), "bob": ("bob", 2)}
    assert Table(("a", 1), ("a", 2)).read(["a", "b"]).reasons == {"a": NOT_UNIQUE}


def test_key_of_several_rows_has_a_reason():
    for keys in ("a", "ab"):
        assert Table(("a", 1), ("a", 2), ("b", 3)).read(keys).reasons == {"a": NOT_UNIQUE}
    assert Table(("a", 1), ("A", 2), ("b", 3)).read(["b", "a"]).rows == {"a": ("a", 1), "b": ("b", 3)}
