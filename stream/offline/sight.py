"""The models as a single picture meets them: texts to detections, prompts to masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from engines.cleanup import apply
from engines.clicks import draw_prompted, meant
from engines.edges import Outline
from engines.images import mask_in_frame
from engines.objects import Prompt
from engines.overlaps import different
from engines.registry import load_tracker
from engines.sketches import disc_at, ellipse_in
from engines.tracker import Tracker
from stream.config import Config
from stream.contracts import DetectionJob, DetectorCore, Question
from stream.core import knobs, make_detector_core
from stream.errors import UsageError
from stream.frame import BoolMask, Box
from stream.offline.prompts import Hint, deepest_point
from stream.question import question_of

AT_ONCE = 16
"""Prompts of which the tracker makes memories together; bounds memory."""
UNSEEN_PX = 8.0
"""Radius of the disc that drawing begins with where a click showed nothing; what is so is small."""

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

    def settle(
        self, image: Pixels, seen: Sequence[Seen], nms_iou: float, contained: float
    ) -> list[Seen]:
        """Return what texts found, drawn anew as if clicked, where that is asked for."""


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
        self._least = config.detector.min_score
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
            seen: Of the hints of the same names; where nothing was seen, drawing begins with an
                ellipse in the box or with a small disc.
            hints: A box or a point each.
        """
        known = dict(seen)
        if self._edges is not None:
            known |= {i: self._sketch(hint, image) for i, hint in hints.items() if i not in seen}
        drawn = self._drawn_again(image, list(known.values()), [hints[i] for i in known])
        return {i: one for i, one in zip(known, drawn, strict=True) if one.mask.any()}

    def settle(
        self, image: Pixels, seen: Sequence[Seen], nms_iou: float, contained: float
    ) -> list[Seen]:
        """Return what texts found, drawn anew as if somebody had clicked into its middle.

        What joins neighbours falls apart that way, and the refiner's judgement of its drawing
        tells what is no object at all: scores are multiplied by it.

        Args:
            image: (H, W, 3) uint8 RGB; all of it.
            seen: What texts found in it, no mask empty.
            nms_iou: See `engines.overlaps.different`.
            contained: See there.

        Returns:
            The surest first; as they are where nothing is to be drawn again. What has a score below
            the least one, or became the same as a better one, is left out.
        """
        if self._edges is None or not seen:
            return list(seen)
        outlines = [Outline(one.mask, one.box, point=_middle(one)) for one in seen]
        drawn, sure = meant(self._edges, image, outlines, clicked=False)
        scores = [one.score * quality for one, quality in zip(seen, sure, strict=True)]
        rows = different(drawn, sure, nms_iou, contained)
        apart = self._edges.draw(
            image, [replace(outlines[n], mask=drawn[n][0], box=drawn[n][1]) for n in rows]
        )
        settled = [
            replace(seen[n], score=scores[n], mask=mask, box=box)
            for n, (mask, box) in zip(rows, apart, strict=True)
            if scores[n] >= self._least
        ]
        return sorted(settled, key=lambda one: -one.score)

    def _sketch(self, hint: Hint, image: Pixels) -> Seen:
        size = (int(image.shape[0]), int(image.shape[1]))
        if hint.box is not None:
            place = ellipse_in(hint.box, size)
        else:
            assert hint.point is not None
            place = disc_at(hint.point, UNSEEN_PX, size)
        mask, box = place or (np.zeros((0, 0), bool), (0, 0, 0, 0))
        return Seen(self._label, 0.0, mask, box)

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
        if hints:
            again = draw_prompted(self._edges, image, outlines)
        else:
            again = self._edges.draw(image, outlines)
        for row, (mask, box) in zip(rows, again, strict=True):
            drawn[row] = replace(seen[row], mask=mask, box=box)
        return drawn


def _middle(one: Seen) -> tuple[float, float]:
    x, y = deepest_point(one.mask)
    return one.box[0] + x, one.box[1] + y


def _prompt(hint: Hint) -> Prompt:
    if hint.box is not None:
        return Prompt(box=hint.box)
    assert hint.point is not None, "a picture that stands alone is not prompted by a mask"
    return Prompt(points=(hint.point,), labels=(1,))
