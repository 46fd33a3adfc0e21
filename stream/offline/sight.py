"""The models as a single picture meets them: texts to detections, prompts to masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from engines.cleanup import apply
from engines.clicks import draw_pointed
from engines.edges import Outline
from engines.images import mask_in_frame
from engines.objects import Prompt
from engines.registry import load_tracker
from engines.tracker import Tracker
from stream.config import Config
from stream.contracts import DetectionJob, DetectorCore, Question
from stream.core import knobs, make_detector_core
from stream.errors import UsageError
from stream.frame import BoolMask, Box
from stream.offline.prompts import Hint
from stream.question import question_of

AT_ONCE = 16
"""Prompts of which the tracker makes memories together; bounds memory."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Seen:
    """One mask in one picture."""

    label: str
    score: float
    mask: BoolMask
    """(h, w) inside `box`; (0, 0) for an empty one."""
    box: Box
    """x0, y0, x1, y1 in pixels of the picture."""


class Sight(Protocol):
    """What looks at one picture."""

    input_px: int
    """Side of the square that a picture is brought to."""

    def find(self, image: Pixels) -> list[Seen]:
        """Return what the texts describe, best first."""

    def segment(self, image: Pixels, hints: Mapping[int, Hint]) -> dict[int, Seen]:
        """Return the mask of each hint."""

    def draw(
        self, image: Pixels, seen: Mapping[int, Seen], hints: Mapping[int, Hint]
    ) -> dict[int, Seen]:
        """Return what hints gave with finer edges, where that is asked for."""


class ModelSight:
    """The models of a configuration, as a run has them.

    Args:
        config: The run's.
        with_texts: Whether texts are asked for; else the detector is not loaded.

    Raises:
        UsageError: A model or its weights cannot be used.
    """

    def __init__(self, config: Config, with_texts: bool) -> None:
        section = config.tracker
        self._question: Question = question_of(config)
        self._label = self._question.labels[0]
        self._rules = knobs.cleanup(section)
        try:
            self._tracker: Tracker = load_tracker(
                section.model,
                weights=section.weights,
                image_size=section.image_size,
                precision=section.precision,
                device=section.device,
                limits=knobs.limits(section),
                savings=knobs.savings(section),
                cleanup=self._rules,
            )
            self._edges = knobs.edges(section, section.refine, section.device)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.input_px = self._tracker.image_size
        self._detector: DetectorCore | None = None
        if with_texts:
            self._detector = make_detector_core(config)
            self._detector.prepare()

    @property
    def precision(self) -> str:
        """What the networks compute in."""
        return self._tracker.precision

    def find(self, image: Pixels) -> list[Seen]:
        """Return what the texts describe, best first.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        assert self._detector is not None, "made without texts"
        features = self._tracker.encode(image)
        job = DetectionJob(0, 0, image, features.to_arrays(), self._question)
        seen = []
        for item in self._detector.detect(job).detections:
            signs = np.where(item.mask, np.float32(1.0), np.float32(-1.0))
            mask, box = mask_in_frame(signs, image.shape[:2])
            if mask.any():
                seen.append(Seen(item.label, item.score, mask, box))
        return self._drawn_again(image, seen)

    def segment(self, image: Pixels, hints: Mapping[int, Hint]) -> dict[int, Seen]:
        """Return the mask of each hint, cleaned as a run cleans what it publishes.

        Args:
            image: (H, W, 3) uint8 RGB.
            hints: A box or a point each.
        """
        features = self._tracker.encode(image)
        seen = {}
        names = list(hints)
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]
            prompts = {name: _prompt(hints[name]) for name in some}
            for name, found in self._tracker.add_objects(0, features, prompts).items():
                logits = apply(torch.from_numpy(found.logits)[None], self._rules)[0].numpy()
                mask, box = mask_in_frame(logits, image.shape[:2])
                score = min(max(found.iou, 0.0), 1.0)
                seen[name] = Seen(self._label, score, mask, box)
                self._tracker.remove_object(name)
        self._tracker.reset()
        return seen

    def draw(
        self, image: Pixels, seen: Mapping[int, Seen], hints: Mapping[int, Hint]
    ) -> dict[int, Seen]:
        """Return what hints gave with finer edges, where that is asked for.

        Args:
            image: (H, W, 3) uint8 RGB; all of it, since what lies around tells as well.
            seen: Of the hints of the same names.
            hints: A box or a point each.
        """
        drawn = self._drawn_again(image, list(seen.values()), [hints[i] for i in seen])
        return dict(zip(seen, drawn, strict=True))

    def _drawn_again(
        self, image: Pixels, seen: list[Seen], hints: Sequence[Hint] = ()
    ) -> list[Seen]:
        """Return the same with finer edges, where that is asked for.

        Args:
            image: (H, W, 3) uint8 RGB.
            seen: What was found in it.
            hints: What was said of each; empty where nothing was.
        """
        if self._edges is None:
            return seen
        said = hints or [Hint()] * len(seen)
        rows = [row for row, one in enumerate(seen) if one.mask.any()]
        outlines = [
            Outline(seen[row].mask, seen[row].box, said[row].box, said[row].point) for row in rows
        ]
        drawn = list(seen)
        again = draw_pointed(self._edges, image, outlines, mirrored=bool(hints))
        for row, (mask, box) in zip(rows, again, strict=True):
            drawn[row] = replace(seen[row], mask=mask, box=box)
        return drawn


def _prompt(hint: Hint) -> Prompt:
    if hint.box is not None:
        return Prompt(box=hint.box)
    assert hint.point is not None, "a picture that stands alone is not prompted by a mask"
    return Prompt(points=(hint.point,), labels=(1,))
