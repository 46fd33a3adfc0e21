"""Models that see what is bright, and films of squares on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from stream.config import Config
from stream.contracts import (
    DetectionJob,
    DetectionResult,
    DetectorClient,
    HandPrompt,
    Prompted,
    Question,
)
from stream.errors import UsageError
from stream.frame import Detection, Frame, Masks, TrackedObject, crop_mask
from stream.offline.evaluation import Models
from stream.offline.prompts import Hint
from stream.offline.sight import Pixels, Seen

BRIGHT = 100


def bright_pieces(image: Pixels) -> list[np.ndarray]:
    """Connected pieces of what is bright, row by row."""
    labels, count = ndimage.label(image[:, :, 0] > BRIGHT)
    return [labels == number for number in range(1, count + 1)]


class BrightSight:
    """Finds what is bright; a prompt takes the piece that it points at."""

    def __init__(self, input_px: int = 64) -> None:
        self.input_px = input_px
        self.sizes: list[tuple[int, ...]] = []

    def find(self, image: Pixels) -> list[Seen]:
        self.sizes.append(image.shape[:2])
        return [Seen("cell", 0.9, *crop_mask(mask)) for mask in bright_pieces(image)]

    def segment(self, image: Pixels, hints: Mapping[int, Hint]) -> dict[int, Seen]:
        self.sizes.append(image.shape[:2])
        out = {}
        for name, hint in hints.items():
            x, y = hint.point or ((hint.box[0] + hint.box[2]) / 2, (hint.box[1] + hint.box[3]) / 2)
            hit = [mask for mask in bright_pieces(image) if mask[int(y), int(x)]]
            out[name] = Seen("object", 0.8, *crop_mask(hit[0] if hit else image[:, :, 0] > 999))
        return out

    def draw(
        self, image: Pixels, seen: Mapping[int, Seen], hints: Mapping[int, Hint]
    ) -> dict[int, Seen]:
        assert all((one.mask.size > 0) and name in hints for name, one in seen.items())
        assert all(
            one.box[2] <= image.shape[1] and one.box[3] <= image.shape[0] for one in seen.values()
        )
        return dict(seen)

    def settle(
        self, image: Pixels, seen: Sequence[Seen], nms_iou: float, contained: float
    ) -> list[Seen]:
        assert all(one.box[2] <= image.shape[1] for one in seen)
        return list(seen)


class FollowingTracker:
    """Follows what was prompted: the bright piece that overlaps its last mask. Asks every frame."""

    def __init__(self) -> None:
        self.live = True
        self.prepared = False
        self.masks: dict[int, np.ndarray] = {}
        self.heard: list[tuple[int, int]] = []
        self._step = 0
        self._image: Pixels | None = None

    def prepare(self) -> None:
        self.prepared = True

    def encode(self, frame: Frame) -> None:
        pass

    def step(self, frame: Frame, detector: DetectorClient) -> Masks:
        self._image = frame.rgb
        pieces = bright_pieces(frame.rgb)
        for track, mask in self.masks.items():
            self.masks[track] = next((p for p in pieces if (p & mask).any()), mask & False)
        job = DetectionJob(self._step, 0, frame.rgb, {}, Question(("cell",)))
        detector.submit(job)
        answer = detector.poll(0.0 if self.live else 1.0)
        if answer is not None:
            self.heard.append((self._step, answer.frame_index))
            if not self.masks:
                self.masks = {i: d.mask for i, d in enumerate(answer.detections, 1)}
        self._step += 1
        return Masks(frame.index, frame.size, frame.pts_s, 0, tuple(self._objects()))

    def _objects(self) -> list[TrackedObject]:
        return [
            TrackedObject(i, "cell", 0.9, "confirmed", *crop_mask(mask), int(mask.sum()))
            for i, mask in self.masks.items()
        ]

    def prompt(self, prompt: HandPrompt) -> Prompted:
        assert self._image is not None
        track = len(self.masks) + 1
        if prompt.mask is not None:
            mask = prompt.mask
        else:
            x0, y0, x1, y1 = prompt.box or (*prompt.points[0], *prompt.points[0])
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            hit = [piece for piece in bright_pieces(self._image) if piece[int(y), int(x)]]
            if not hit:
                raise UsageError("the prompt gives an empty mask; click inside of the object")
            mask = hit[0]
        self.masks[track] = mask
        return Prompted(track, self._step - 1, int(mask.sum()), crop_mask(mask)[1])


class BrightDetector:
    """Finds what is bright."""

    def prepare(self) -> None:
        pass

    def detect(self, job: DetectionJob) -> DetectionResult:
        found = tuple(
            Detection(job.frame_index, "cell", 0.9, mask, (0, 0, 1, 1), (0, 0))
            for mask in bright_pieces(job.image)
        )
        return DetectionResult(job.frame_index, 0, found, 1)


def models(sight: BrightSight | None = None) -> Models:
    def tracker(config: Config) -> Any:
        return FollowingTracker()

    def detector(config: Config) -> Any:
        return BrightDetector()

    def looks(config: Config, with_texts: bool) -> Any:
        return sight or BrightSight()

    return Models(tracker, detector, looks)


def write_film(folder: Path, frames: int = 6, size: tuple[int, int] = (48, 64)) -> Path:
    """Two squares that move a pixel a frame, ids 3 and 8; square 8 is gone in the last frame."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for t in range(frames):
        ids = np.zeros(size, np.uint16)
        ids[4:14, 2 + t : 12 + t] = 3
        if t < frames - 1:
            ids[24:40, 30 + t : 42 + t] = 8
        gray = np.where(ids > 0, 200, 20).astype(np.uint8)
        Image.fromarray(np.repeat(gray[:, :, None], 3, axis=2)).save(folder / f"images/t{t}.png")
        Image.fromarray(ids).save(folder / f"masks/t{t}.png")
    return folder
