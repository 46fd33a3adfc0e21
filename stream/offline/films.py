"""The tracker's core over an annotated film, frame by frame, as a run over a file has it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from stream.config import Normalize
from stream.contracts import DetectorClient, HandPrompt, TrackerCore
from stream.errors import UsageError
from stream.evaluate import AnnotatedFrame, AnnotatedSequence
from stream.frame import Frame, TrackedObject
from stream.offline.prompts import Hint, Prompter
from stream.sources.images import IMAGES_FPS


@dataclass(frozen=True, slots=True)
class Followed:
    """One frame and what was published of it."""

    frame: AnnotatedFrame
    objects: tuple[TrackedObject, ...]
    """Those with a pixel."""
    seconds: float
    """What the cores took."""


class Follower:
    """Takes a film through a tracker that is prepared and has seen nothing.

    Args:
        film: The pictures and their truth.
        tracker: The core.
        client: Its way to the detector.
        prompter: What is said about the objects of the first frame; None for nothing.
        normalize: How 16-bit pictures become visible.

    Attributes:
        given: Track -> true id of the objects that were prompted, once the first frame was given.
        refused: True id -> why its prompt was refused, as one that gives an empty mask is.
    """

    def __init__(
        self,
        film: AnnotatedSequence,
        tracker: TrackerCore,
        client: DetectorClient,
        prompter: Prompter | None,
        normalize: Normalize,
    ) -> None:
        self.given: dict[int, int] = {}
        self.refused: dict[int, str] = {}
        self._film = film
        self._tracker = tracker
        self._client = client
        self._prompter = prompter
        self._normalize = normalize

    def __iter__(self) -> Iterator[Followed]:
        """Give the frames in their order.

        Raises:
            UsageError: A file of boxes has none for the first picture, or one outside of it.
        """
        for shown in self._film.frames(self._normalize):
            start_s = time.perf_counter()
            captured_ns = time.monotonic_ns()
            # A run takes a folder of pictures for a film of this rate.
            frame = Frame(shown.index, shown.image, shown.index / IMAGES_FPS, captured_ns)
            masks = self._tracker.step(frame, self._client)
            if self._prompter is not None and shown.index == 0:
                self._prompt(shown, self._prompter)
            seconds = time.perf_counter() - start_s
            yield Followed(shown, tuple(item for item in masks.objects if item.area), seconds)

    def _prompt(self, shown: AnnotatedFrame, prompter: Prompter) -> None:
        name = f"{self._film.name}/{shown.name}"
        hints = prompter.hints(shown.ids, name, shown.name)
        if not hints:
            raise UsageError(
                f"{name}: nothing is prompted in the first frame; it has no "
                f"{'box in the file' if prompter.kind == 'boxes' else 'object in its mask'}"
            )
        for true_id, hint in hints.items():
            _check(hint, shown.ids.shape[:2], name)
            try:
                done = self._tracker.prompt(_by_hand(hint))
            except UsageError as error:
                self.refused[true_id] = str(error)
                continue
            self.given[done.track_id] = true_id


def _check(hint: Hint, size: tuple[int, int], name: str) -> None:
    if hint.box is not None and (hint.box[2] > size[1] or hint.box[3] > size[0]):
        raise UsageError(
            f"{name}: box {','.join(f'{v:g}' for v in hint.box)} is not accepted; the picture is "
            f"{size[1]} x {size[0]}"
        )


def _by_hand(hint: Hint) -> HandPrompt:
    if hint.point is not None:
        return HandPrompt(points=(hint.point,), labels=(1,))
    return HandPrompt(box=hint.box, mask=hint.mask)
