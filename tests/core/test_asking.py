"""What the detector is asked, and who goes on under another question."""

import numpy as np

from stream.config import LifecycleConfig
from stream.contracts import DetectionResult, Exemplar, Question
from stream.core.asking import Asking
from stream.frame import Detection
from stream.lifecycle import Tracks

UNIT = np.eye(4, dtype=np.float32)
MASKS = np.zeros((4, 16, 16), bool)
for row in range(4):
    MASKS[row, 4 * row : 4 * row + 4, :8] = True


def tracks(*labels):
    """Tracks with ids from 1, of these labels, each with an embedding of its own."""
    books = Tracks(LifecycleConfig(), 16)
    books.detected(
        0,
        [
            Detection(0, label, 0.95, MASKS[i], (0, 0, 1, 1), (0, 0), UNIT[i])
            for i, label in enumerate(labels)
        ],
    )
    return books


def answer(scores=None, refused=None):
    rows = None if scores is None else np.array(scores, np.float32)
    return DetectionResult(0, 0, (), 0, None, rows, refused or {})


def labels(books):
    return {track.id: track.label for track in books.tracks.values()}


def test_a_question_that_did_not_change_weighs_nobody():
    asking, books = Asking(Question(("cell",))), tracks("cell")
    words = asking.compose(books.embeddings())
    assert (words.question, words.shown, words.known) == (Question(("cell",)), (), None)
    asking.sent(words)
    assert asking.heard(answer(), books) == ([], [])
    assert labels(books) == {1: "cell"}


def test_an_edited_text_keeps_the_ids_that_it_describes():
    asking, books = Asking(Question(("cell", "dust"))), tracks("cell", "cell", "dust")
    asking.change(Question(("nucleus", "dust")))
    words = asking.compose(books.embeddings())
    np.testing.assert_array_equal(words.known, UNIT[:3])
    asking.sent(words)
    ended, _ = asking.heard(answer([[0.9, 0.1], [0.2, 0.6], [0.3, 0.3]]), books)
    assert ended == []
    assert labels(books) == {1: "nucleus", 2: "dust", 3: "dust"}
    assert asking.compose(books.embeddings()).known is None, "they are weighed once"


def test_a_removed_text_ends_what_nothing_else_describes():
    asking, books = Asking(Question(("cell", "dust"))), tracks("cell", "dust")
    asking.change(Question(("dust",)))
    asking.sent(asking.compose(books.embeddings()))
    assert asking.heard(answer([[0.4], [0.1]]), books) == ([1], [])
    assert labels(books) == {2: "dust"}


def test_other_negatives_weigh_everybody_anew():
    asking, books = Asking(Question(("cell",))), tracks("cell", "cell")
    asking.change(Question(("cell",), ("debris",)))
    asking.change(Question(("cell", "dust"), ("debris",)))
    asking.sent(asking.compose(books.embeddings()))
    assert asking.heard(answer([[0.2, 0.3], [0.7, 0.1]]), books)[0] == [1]


def test_other_texts_do_not_weigh_those_that_are_still_asked_for():
    asking, books = Asking(Question(("cell",))), tracks("cell")
    asking.change(Question(("cell", "dust")))
    asking.sent(asking.compose(books.embeddings()))
    assert asking.heard(answer([[0.1, 0.9]]), books)[0] == []
    assert labels(books) == {1: "cell"}


def test_a_change_while_a_job_is_under_way_is_heard_with_the_next():
    asking, books = Asking(Question(("cell",))), tracks("cell")
    asking.change(Question(("dog",)))
    asking.sent(asking.compose(books.embeddings()))
    asking.change(Question(("nucleus",)))  # its answer is of an old revision: nobody hears it
    words = asking.compose(books.embeddings())
    assert words.known is not None
    asking.sent(words)
    asking.heard(answer([[0.8]]), books)
    assert labels(books) == {1: "nucleus"}


def test_a_track_by_hand_stays_whatever_is_asked():
    asking, books = Asking(Question(("cell",))), tracks("cell")
    books.adopt("my thing")
    asking.change(Question(("dog",)))
    asking.sent(asking.compose(books.embeddings()))
    assert asking.heard(answer([[0.1]]), books)[0] == [1]
    assert labels(books) == {2: "my thing"}


def test_an_exemplar_waits_until_its_object_is_seen():
    asking, books = Asking(Question(("cell",), (), ("a blob",))), tracks("cell")
    asking.teach("a blob", 1)
    words = asking.compose(books.embeddings(), {})
    assert (words.shown, words.question.exemplars) == ((), ())
    words = asking.compose(books.embeddings(), {1: (1, 2, 3, 4)})
    assert words.shown == (Exemplar("a blob", (1.0, 2.0, 3.0, 4.0)),)
    assert words.question.exemplars == ("a blob",)
    asking.sent(words)
    assert not asking.wants_to_teach
    asking.heard(answer(), books)
    later = asking.compose(books.embeddings())
    assert (later.shown, later.question.exemplars) == ((), ("a blob",))


def test_an_exemplar_whose_answer_is_lost_is_shown_again():
    asking, books = Asking(Question(("cell",), (), ("a blob",))), tracks("cell")
    asking.teach("a blob", 1)
    asking.sent(asking.compose(books.embeddings(), {1: (1, 2, 3, 4)}))
    asking.withdraw()
    assert asking.wants_to_teach
    asking.change(Question(("cell",)))
    assert not asking.wants_to_teach, "nobody asks for it any more"


def test_what_the_detector_refuses_is_told_and_not_asked_for():
    asking, books = Asking(Question(("cell",), (), ("a blob",))), tracks("cell")
    asking.teach("a blob", 1)
    asking.sent(asking.compose(books.embeddings(), {1: (1, 2, 3, 4)}))
    _, notes = asking.heard(answer(refused={"a blob": "the box gives no mask"}), books)
    assert notes == ["'a blob' is not looked for: the box gives no mask"]
    assert asking.compose(books.embeddings()).question.exemplars == ()


def test_an_exemplar_whose_object_is_gone_is_told():
    asking = Asking(Question(("cell",), (), ("a blob",)))
    asking.teach("a blob", 3)
    assert asking.give_up({3: None}) == []
    (note,) = asking.give_up({})
    assert "'a blob'" in note
    assert not asking.wants_to_teach


def test_nothing_is_asked_while_there_is_nothing_to_ask():
    asking = Asking(Question((), (), ("a blob",)))
    assert asking.compose({}) is None
