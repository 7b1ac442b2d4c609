import pytest

from benchmarks.page import PageError, fill, places

PAGE = """# Title

<!-- begin: reading -->
old
<!-- end: reading -->

Words with <!-- begin: idle --> in a line are words.

<!-- begin: idle -->
<!-- end: idle -->
"""


def test_part_takes_the_place_of_the_old_one_and_the_rest_stays():
    filled = fill("page", PAGE, {"reading": "| new |\n", "other": "x"})

    assert filled == PAGE.replace("\nold\n", "\n\n| new |\n\n")


def test_filling_again_changes_nothing():
    parts = {"reading": "new", "idle": "\\1 backslashes and <!-- comments -->"}

    filled = fill("page", PAGE, parts)

    assert fill("page", filled, parts) == filled
    assert "\\1 backslashes" in filled


def test_places_are_named_in_their_order():
    assert places("page", PAGE) == ["reading", "idle"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- begin: a -->\n", "page: there is no <!-- end: a -->"),
        ("\n<!-- end: a -->\n", "page, line 2: <!-- end: a --> without <!-- begin: a --> before it"),
        ("<!-- begin: a -->\n<!-- begin: b -->\n", "page, line 2: <!-- begin: b -->, but a has no end yet"),
        ("<!-- begin: a -->\n<!-- end: b -->\n", "page, line 2: <!-- end: b --> without <!-- begin: b --> before it"),
        (
            "<!-- begin: a -->\n<!-- end: a -->\n<!-- begin: a -->\n<!-- end: a -->\n",
            "page, line 3: <!-- begin: a -->, but there is another place of a",
        ),
    ],
)
def test_marker_without_its_other_half_is_refused(text, message):
    with pytest.raises(PageError) as caught:
        places("page", text)

    assert str(caught.value) == message
