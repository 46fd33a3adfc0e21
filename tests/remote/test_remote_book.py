"""How requests change the question."""

import pytest

from stream.contracts import Question
from stream.errors import UsageError
from stream.remote import QuestionBook
from stream.remote.requests import Add, Edit, Get, Remove, Set


def book(*texts, negatives=(), exemplars=()):
    return QuestionBook(Question(texts or ("cell", "dust"), negatives, exemplars))


def test_texts_are_added_edited_and_removed_in_their_places():
    held = book()
    assert held.change(Add("a red car.  a  person!"))
    assert held.question.texts == ("cell", "dust", "a red car", "a person")
    assert held.change(Edit("cell", "cell nucleus"))
    assert held.question.texts[0] == "cell nucleus"
    assert held.change(Remove("dust"))
    assert held.question.texts == ("cell nucleus", "a red car", "a person")
    assert held.revision == 3


def test_negatives_are_a_list_of_their_own():
    held = book()
    held.change(Add("cell", negative=True))
    held.change(Edit("cell", "紅色的大狗", negative=True))
    assert held.question == Question(("cell", "dust"), ("紅色的大狗",))
    held.change(Remove("紅色的大狗", negative=True))
    assert held.question == Question(("cell", "dust"))


def test_set_changes_what_it_names_only():
    held = book(negatives=("wall",))
    held.change(Set(texts=("dog",)))
    assert held.question == Question(("dog",), ("wall",))
    held.change(Set(negatives=()))
    assert held.question == Question(("dog",))


@pytest.mark.parametrize(
    "request_", [Get(), Add("cell"), Edit("cell", "cell"), Set(("cell", "dust"))]
)
def test_what_changes_nothing_is_no_revision(request_):
    held = book()
    assert not held.change(request_)
    assert held.revision == 0


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Remove("dog"), "'dog' is not among the texts; there are 'cell', 'dust'"),
        (Remove("cell", negative=True), "'cell' is not among the negatives; there are none"),
        (Edit("dog", "cat"), "'dog' is not among the texts"),
        (Edit("cell", "dust"), "'dust' is asked for already; remove 'cell' instead"),
        (Add(" . "), "' . ' is not accepted; a text must contain at least one word"),
        (Edit("cell", ""), "'' is not accepted"),
        (Set(texts=("a", "")), "'' is not accepted"),
        (Set(texts=()), "nothing would be asked for; add another text first"),
        (Add("x" * 501), "a text of 501 characters is too long; accepted are 500"),
        (Set(texts=tuple(f"t{i}" for i in range(65))), "65 texts are too many; accepted are 64"),
        (Add("\ud800"), "texts must be valid UTF-8"),
    ],
)
def test_a_refusal_changes_nothing(request_, words):
    held = book()
    with pytest.raises(UsageError) as found:
        held.change(request_)
    assert words in str(found.value)
    assert (held.question, held.revision) == (Question(("cell", "dust")), 0)


def test_the_last_text_stays_unless_something_was_shown():
    held = book("cell")
    with pytest.raises(UsageError, match="nothing would be asked for"):
        held.change(Remove("cell"))
    held.show("one of these")
    held.change(Remove("cell"))
    assert held.question.labels == ("one of these",)
    with pytest.raises(UsageError, match="nothing would be asked for"):
        held.change(Remove("one of these"))


def test_exemplars_have_labels_of_their_own():
    held = book()
    assert held.show(None) == "like this 1"
    assert held.show("  a   blob ") == "a blob"
    assert held.show("a blob") == "a blob", "shown again"
    assert held.question.exemplars == ("like this 1", "a blob")
    assert held.revision == 3, "shown again is asked again"
    with pytest.raises(UsageError, match="'cell' is asked for as a text; give what you show"):
        held.show("cell")
    held.change(Remove("a blob"))
    assert held.question.exemplars == ("like this 1",)
