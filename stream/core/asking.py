"""What the detector is asked, and what follows from a question that changes while it runs."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.contracts import DetectionResult, Exemplar, Question
from stream.frame import Box
from stream.lifecycle import Tracks
from stream.lifecycle.track import Embedding


@dataclass(frozen=True, slots=True)
class Words:
    """What a job says beside its frame."""

    question: Question
    shown: tuple[Exemplar, ...] = ()
    known: npt.NDArray[np.float32] | None = None
    """(N, D) embeddings to be scored."""
    ids: tuple[int, ...] = ()
    """The N tracks that they are of."""


class Asking:
    """The question in force, and what of it the detector has not heard yet.

    A changed question is heard with the next job: the job carries the embeddings of the tracks, the
    answer their scores, and tracks that no text describes any more end. An exemplar is shown in a
    frame in which its own track is seen.

    Attributes:
        question: What is asked for.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self._rephrase = False
        self._anew = False
        self._sent = Words(question)
        self._taught: set[str] = set()
        self._to_teach: dict[str, int] = {}
        self._teaching: dict[str, int] = {}

    def change(self, question: Question) -> None:
        """Go on under another question; the answer to the job under way will not count."""
        self._rephrase = True
        self._anew = self._anew or question.negatives != self.question.negatives
        self.question = question
        self._taught &= set(question.exemplars)
        self.withdraw()

    def withdraw(self) -> None:
        """Take back what the job under way was to teach: nobody will hear its answer."""
        waiting = self._teaching | self._to_teach
        self._to_teach = {k: i for k, i in waiting.items() if k in self.question.exemplars}
        self._teaching = {}

    def teach(self, label: str, track_id: int) -> None:
        """Show a track's object to the detector as soon as it is seen."""
        self._to_teach[label] = track_id

    def give_up(self, alive: Container[int]) -> list[str]:
        """Show no track that has ended; return lines that people should see."""
        lost = [label for label, i in self._to_teach.items() if i not in alive]
        for label in lost:
            del self._to_teach[label]
        return [
            f"nothing was learnt from {label!r}: its object was gone before it could be shown"
            for label in lost
        ]

    @property
    def wants_to_teach(self) -> bool:
        """Whether an exemplar waits to be shown."""
        return bool(self._to_teach)

    def compose(
        self, embeddings: Mapping[int, Embedding], boxes: Mapping[int, Box] | None = None
    ) -> Words | None:
        """Return what the next job says; None when there is nothing to ask.

        Args:
            embeddings: (D,) unit vector by track id.
            boxes: x0, y0, x1, y1 in pixels by id of the tracks seen in the frame of the job; None
                where exemplars are to wait.
        """
        ready = {label: i for label, i in self._to_teach.items() if i in (boxes or {})}
        shown = tuple(_exemplar(label, (boxes or {})[i]) for label, i in ready.items())
        labels = (*self._taught, *ready)
        # A detector is asked only for exemplars that it has been shown.
        exemplars = tuple(label for label in self.question.exemplars if label in labels)
        question = replace(self.question, exemplars=exemplars)
        if not question.labels:
            return None
        ids = tuple(embeddings) if self._rephrase else ()
        known = np.stack([embeddings[i] for i in ids]) if ids else None
        return Words(question, shown, known, ids)

    def sent(self, words: Words) -> None:
        """Note that a job is under way."""
        self._sent = words
        self._teaching = {item.label: self._to_teach.pop(item.label) for item in words.shown}

    def heard(self, result: DetectionResult, tracks: Tracks) -> tuple[list[int], list[str]]:
        """Take the answer to the job under way.

        Args:
            result: Asked under this very question.
            tracks: Their labels follow the question.

        Returns:
            Ids of the tracks that end, and lines that people should see.
        """
        self._taught |= self._teaching.keys() - result.refused.keys()
        self._teaching = {}
        notes = [f"{label!r} is not looked for: {why}" for label, why in result.refused.items()]
        if not self._rephrase:
            return [], notes
        rows: Any = [] if result.scores is None else result.scores.tolist()
        scores = {
            track_id: dict(zip(self._sent.question.labels, row, strict=True))
            for track_id, row in zip(self._sent.ids, rows, strict=False)
        }
        ended = tracks.rephrase(self.question.labels, scores, anew=self._anew)
        self._rephrase = self._anew = False
        return ended, notes


def _exemplar(label: str, box: Box) -> Exemplar:
    x0, y0, x1, y1 = box
    return Exemplar(label, (float(x0), float(y0), float(x1), float(y1)))
