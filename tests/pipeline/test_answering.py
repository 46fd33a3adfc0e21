"""Requests to orders, and orders' ends to replies; sockets are not needed."""

import pytest

from stream.contracts import Question
from stream.pipeline.answering import ANSWER_WITHIN_S, MOST_WAITING, Answering
from stream.remote import Reply
from stream.remote.requests import Add, Edit, Forget, Get, Mask, Prompt, Remove
from stream.transport.headers import Answered, Asked, Hand
from stream.transport.headers import Forget as ForgetOrder


class PaperDoor:
    """Holds what was asked and what was answered."""

    def __init__(self):
        self.asked, self.replies, self.closed = [], [], False

    def receive(self):
        asked, self.asked = self.asked, []
        return asked

    def reply(self, client, reply):
        self.replies.append((client, reply))

    def close(self):
        self.closed = True


class Room:
    def __init__(self, *texts):
        self.door, self.orders = PaperDoor(), []
        self.answering = Answering(
            self.door, Question(texts or ("cell",)), lambda *order: self.orders.append(order)
        )

    def ask(self, request, client=b"a", now=0.0):
        self.door.asked.append((client, request))
        self.answering.turn(now)


def test_another_text_goes_to_those_who_ask_and_show():
    room = Room()
    room.ask(Add("dog"))
    assert [(stage, order.question.texts) for stage, order in room.orders] == [
        ("tracker", ("cell", "dog")),
        ("publisher", ("cell", "dog")),
    ]
    assert all(isinstance(order, Asked) for _, order in room.orders)
    ((client, reply),) = room.door.replies
    assert client == b"a"
    assert reply == Reply(True, "", 1, ("cell", "dog"), (), ())


def test_an_edit_says_what_became_of_what():
    room = Room("cell", "dust")
    room.ask(Edit("cell", "nucleus"))
    room.ask(Add("dog"))
    room.ask(Remove("dust"))
    room.ask(Edit("nucleus", "a cat. a mouse"))
    renamed = [order.renamed for stage, order in room.orders if stage == "tracker"]
    assert renamed == [{"cell": "nucleus"}, {}, {}, {}]


def test_what_changes_nothing_goes_nowhere():
    room = Room()
    room.ask(Get())
    room.ask(Remove("dog"))
    assert room.orders == []
    assert [reply.ok for _, reply in room.door.replies] == [True, False]


def test_a_prompt_waits_for_the_tracker_and_the_answer_finds_its_way():
    room = Room()
    room.ask(Prompt(frame=8, points=((1.0, 2.0),)), client=b"one")
    room.ask(Forget(4), client=b"two")
    (_, hand), (_, forget) = room.orders
    assert isinstance(hand, Hand)
    assert (hand.frame_index, hand.points, hand.labels) == (8, ((1.0, 2.0),), (1,))
    assert (hand.label, hand.exemplar, hand.rle) == (None, False, None)
    assert forget == ForgetOrder(forget.request, 4)
    assert room.door.replies == []
    room.answering.answered(Answered(forget.request, error="there is no object 4"))
    room.answering.answered(Answered(hand.request, "", 7, 8, (1, 2, 3, 4), 12))
    (_, refused), (client, done) = room.door.replies
    assert refused == Reply(False, error="there is no object 4")
    assert client == b"one"
    assert (done.id, done.frame, done.box, done.area_px) == (7, 8, (1, 2, 3, 4), 12)


def test_something_shown_is_asked_for_before_it_is_prompted():
    room = Room()
    room.ask(Prompt(box=(0.0, 0.0, 4.0, 4.0), like=True, label="a blob"))
    (_, asked), _, (_, hand) = room.orders
    assert asked.question.exemplars == ("a blob",)
    assert (hand.label, hand.exemplar) == ("a blob", True)


def test_what_could_not_be_shown_is_asked_for_no_more():
    room = Room()
    room.ask(Prompt(box=(0.0, 0.0, 4.0, 4.0), like=True))
    number = room.orders[-1][1].request
    room.answering.answered(Answered(number, error="frame 8 is not kept"))
    assert room.door.replies == [(b"a", Reply(False, error="frame 8 is not kept"))]
    assert [order.question.exemplars for _, order in room.orders[-2:]] == [(), ()]


def test_what_was_shown_before_stays_when_showing_it_again_fails():
    room = Room()
    room.ask(Prompt(box=(0.0, 0.0, 4.0, 4.0), like=True, label="a blob"))
    room.answering.answered(Answered(room.orders[-1][1].request, "", 7, 8, (0, 0, 4, 4), 16))
    room.ask(Prompt(box=(0.0, 0.0, 4.0, 4.0), like=True, label="a blob"))
    room.answering.answered(Answered(room.orders[-1][1].request, error="no"))
    room.ask(Get())
    assert room.door.replies[-1][1].exemplars == ("a blob",)


def test_a_label_is_one_line_of_bounded_length():
    room = Room()
    room.ask(Prompt(points=((1.0, 2.0),), label="  my \n cell "))
    room.ask(Prompt(points=((1.0, 2.0),), label=" "))
    assert [order.label for _, order in room.orders] == ["my cell", None]
    room.ask(Prompt(points=((1.0, 2.0),), label="x" * 501))
    room.ask(Prompt(points=((1.0, 2.0),), label="x" * 501, like=True))
    assert len(room.orders) == 2
    assert all("a label of 501 characters" in reply.error for _, reply in room.door.replies)


def test_a_mask_travels_as_its_runs():
    room = Room()
    room.ask(Prompt(rle=Mask((4, 6), "0h0")))
    assert room.orders[0][1].rle == (4, 6, "0h0")


def test_nobody_waits_for_ever():
    room = Room()
    room.ask(Prompt(points=((1.0, 2.0),)), now=5.0)
    room.answering.turn(5.0 + ANSWER_WITHIN_S - 0.1)
    assert room.door.replies == []
    room.answering.turn(5.0 + ANSWER_WITHIN_S)
    assert room.door.replies == [(b"a", Reply(False, error="the tracker does not answer"))]
    room.answering.answered(Answered(room.orders[0][1].request, "", 7))
    assert len(room.door.replies) == 1, "too late, and not twice"


def test_only_so_many_wait():
    room = Room()
    for _ in range(MOST_WAITING + 1):
        room.ask(Forget(1))
    assert len(room.orders) == MOST_WAITING
    assert "64 requests wait already" in room.door.replies[0][1].error


@pytest.mark.parametrize("like", [True, False])
def test_the_end_is_told_to_those_who_wait(like):
    room = Room()
    room.ask(Prompt(points=((1.0, 2.0),), like=like))
    room.answering.close()
    assert room.door.closed
    assert room.door.replies[0][1].error == "the run ended before it could be done"
