"""The supervisor's side of requests: some change the question, the tracker carries out others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stream.contracts import Question
from stream.errors import UsageError
from stream.remote import Door, QuestionBook, Reply, Request
from stream.remote.book import label_of
from stream.remote.requests import Forget, Prompt, Remove
from stream.transport import headers
from stream.transport.codec import from_question

ANSWER_WITHIN_S = 30.0
MOST_WAITING = 64

Send = Callable[[str, headers.ControlHeader], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that the tracker has not answered yet."""

    client: bytes
    until: float
    exemplar: str | None
    """A label that is asked for because of it only."""


class Answering:
    """Answers people.

    Args:
        door: Where they ask.
        question: What the run began with.
        send: Sends an order to a stage.
    """

    def __init__(self, door: Door, question: Question, send: Send) -> None:
        self._door = door
        self._book = QuestionBook(question)
        self._send = send
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0

    def turn(self, now: float) -> None:
        """Take what was asked.

        Args:
            now: Monotonic time in seconds.
        """
        for client, request in self._door.receive():
            try:
                self._take(client, request, now)
            except UsageError as error:
                self._door.reply(client, Reply(False, error=str(error)))
        for number, waiting in list(self._waiting.items()):
            if now >= waiting.until:
                self._finish(number, "the tracker does not answer")

    def answered(self, header: headers.Answered) -> None:
        """Pass on what became of a request."""
        if header.error:
            self._finish(header.request, header.error)
            return
        waiting = self._waiting.pop(header.request, None)
        if waiting is None:
            return
        reply = self._reply(
            id=header.track_id,
            frame=header.frame_index,
            box=header.box,
            area_px=header.area_px,
        )
        self._door.reply(waiting.client, reply)

    def close(self) -> None:
        """Tell those who wait that the run ends, and listen no more."""
        for number in list(self._waiting):
            self._finish(number, "the run ended before it could be done")
        self._door.close()

    def _take(self, client: bytes, request: Request, now: float) -> None:
        if isinstance(request, Prompt | Forget):
            self._order(client, request, now)
            return
        before = self._book.question.texts
        if self._book.change(request):
            self._announce(_renamed(before, self._book.question.texts))
        self._door.reply(client, self._reply())

    def _order(self, client: bytes, request: Prompt | Forget, now: float) -> None:
        if len(self._waiting) >= MOST_WAITING:
            raise UsageError(f"{MOST_WAITING} requests wait already; try again in a moment")
        self._number += 1
        exemplar = None
        before = self._book.question.exemplars
        if isinstance(request, Forget):
            order: headers.Order = headers.Forget(self._number, request.id)
        else:
            if request.like:
                exemplar = self._book.show(request.label)
                self._announce()
            order = _hand(self._number, request, exemplar)
        added = None if exemplar in before else exemplar
        self._waiting[self._number] = _Waiting(client, now + ANSWER_WITHIN_S, added)
        self._send("tracker", order)

    def _finish(self, number: int, error: str) -> None:
        """Answer a request that came to nothing, and ask for its exemplar no more."""
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        if waiting.exemplar is not None and waiting.exemplar in self._book.question.exemplars:
            try:
                self._book.change(Remove(waiting.exemplar))
                self._announce()
            except UsageError:  # it is all that is asked for
                error = f"{error}; {waiting.exemplar!r} stays, as nothing else is asked for"
        self._door.reply(waiting.client, Reply(False, error=error))

    def _announce(self, renamed: dict[str, str] | None = None) -> None:
        order = headers.Asked(from_question(self._book.question), renamed or {})
        for stage in ("tracker", "publisher"):
            self._send(stage, order)

    def _reply(
        self,
        id: int | None = None,
        frame: int | None = None,
        box: tuple[int, int, int, int] | None = None,
        area_px: int | None = None,
    ) -> Reply:
        question = self._book.question
        return Reply(
            True,
            revision=self._book.revision,
            texts=question.texts,
            negatives=question.negatives,
            exemplars=question.exemplars,
            id=id,
            frame=frame,
            box=box,
            area_px=area_px,
        )


def _renamed(before: tuple[str, ...], after: tuple[str, ...]) -> dict[str, str]:
    """Return which text stands where another stood, if one was put in the place of one."""
    gone, new = [t for t in before if t not in after], [t for t in after if t not in before]
    edited = len(gone) == len(new) == 1 and before.index(gone[0]) == after.index(new[0])
    return {gone[0]: new[0]} if edited and len(before) == len(after) else {}


def _hand(number: int, request: Prompt, exemplar: str | None) -> headers.Hand:
    labels = request.labels if request.labels is not None else (1,) * len(request.points)
    mask = request.rle
    return headers.Hand(
        request=number,
        frame_index=request.frame,
        track_id=request.id,
        label=exemplar or label_of(request.label),
        points=request.points,
        labels=labels,
        box=request.box,
        rle=None if mask is None else (*mask.size, mask.counts),
        more=request.more,
        exemplar=exemplar is not None,
    )
