"""How well things are found that are shown and not named, on drawn pictures with known truth.

    python tools/measure_exemplars.py [--pictures 12] [--json FILE] [--markdown FILE]

One object of each picture is shown by its true box; the others of its kind are to be found in the
same picture. `cells`: frames of the drawn films, all of whose cells are of one kind. `shapes`:
drawn shapes in six colours, where those of the same colour are of one kind. A detection is right
when it overlaps one of them, one to one, at an IoU of 0.5 or more; the object shown counts neither
way. Beside it stands what the text finds in the same pictures. The micro models.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Parser, Table, guarded, positive, progress, write
from PIL import Image

from engines.build import RENDERED_PROMPTS
from engines.calibration import calibration
from engines.detector import Found, Shown, TextDetector
from engines.features import Features
from engines.finder import finder_beside
from engines.registry import load_clip, load_edges, load_sam2, load_tracker
from engines.texts import text_bank
from stream.config import DetectorConfig, TrackerConfig
from stream.core.detect import default_clip_size, detector_settings
from stream.synth import LOOKS, CellFilm, CellFilmSpec
from stream.synth.shapes import draw_shapes

LEAST_PX = 60
RIGHT_IOU = 0.5
FIRST_SEED = 8_000  # far from the seeds that training and calibration draw
LABEL = "more like this"


@dataclass(frozen=True)
class Picture:
    """A picture with one object to be shown."""

    kind: str
    image: np.ndarray
    ids: np.ndarray
    shown: int
    same: frozenset[int]
    """Ids of its kind, itself excepted."""
    text: str


@dataclass
class Tally:
    """Counts over pictures."""

    right: int = 0
    given: int = 0
    asked: int = 0
    refused: list[str] = field(default_factory=list)

    def add(self, found: list[Found], picture: Picture) -> None:
        """Pair a picture's detections with its truth, the surest first."""
        self.asked += len(picture.same)
        open_ids = set(picture.same)
        for item in found:
            best, iou = best_object(item.mask, picture.ids)
            if iou >= RIGHT_IOU and best == picture.shown:
                continue
            self.given += 1
            if iou >= RIGHT_IOU and best in open_ids:
                open_ids.remove(best)
                self.right += 1

    def figures(self) -> dict[str, Any]:
        """Return recall, precision and the counts; null where nothing was given."""
        return {
            "recall": round(self.right / self.asked, 3) if self.asked else None,
            "precision": round(self.right / self.given, 3) if self.given else None,
            "asked": self.asked,
            "given": self.given,
            "refused": len(self.refused),
        }


def best_object(mask: np.ndarray, ids: np.ndarray) -> tuple[int, float]:
    """Return the object that a mask (h, w) overlaps best in (H, W) ids, and the IoU."""
    width, height = ids.shape[1], ids.shape[0]
    full = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    true = np.bincount(ids.ravel())
    shared = np.bincount(ids[full], minlength=len(true)).astype(float)
    iou = shared / np.maximum(true + full.sum() - shared, 1)
    iou[0] = 0.0
    best = int(iou.argmax())
    return best, float(iou[best])


def pictures(kind: str, count: int) -> Iterator[Picture]:
    """Draw pictures of a kind in which there is more than one of the shown thing's kind."""
    seed = FIRST_SEED
    while count:
        picture = _cells(seed) if kind == "cells" else _shapes(seed)
        seed += 1
        if picture.same:
            count -= 1
            yield picture


def _cells(seed: int) -> Picture:
    film = CellFilm(CellFilmSpec(seed=seed, look=LOOKS[seed % len(LOOKS)], objects=10))
    film.skip(30)
    drawn = film.frame()
    objects = _large(drawn.ids)
    shown = int(np.random.default_rng(seed).choice(objects))
    same = frozenset(objects) - {shown}
    image = drawn.image.astype(np.uint8, copy=False)
    return Picture("cells", image, drawn.ids, shown, same, "cell")


def _shapes(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    image, ids, words = draw_shapes(rng, 640, 480, 14)
    objects = _large(ids)
    colour = {i: words[i][3].split()[0] for i in objects}
    shown = int(rng.choice(objects))
    same = frozenset(i for i in objects if colour[i] == colour[shown]) - {shown}
    return Picture("shapes", image, ids, shown, same, f"a {colour[shown]} shape")


def _large(ids: np.ndarray) -> list[int]:
    found, areas = np.unique(ids, return_counts=True)
    return [int(i) for i, a in zip(found, areas, strict=True) if i and a >= LEAST_PX]


def true_box(ids: np.ndarray, object_id: int) -> tuple[float, float, float, float]:
    """Return x0, y0, x1, y1 around an object, in pixels."""
    rows, cols = np.nonzero(ids == object_id)
    return float(cols.min()), float(rows.min()), float(cols.max() + 1), float(rows.max() + 1)


def make_detector(sam: Any) -> TextDetector:
    """Return the micro detector as the live stage has it."""
    clip = load_clip("micro")
    side_px = default_clip_size("micro", clip.model.visual)
    settings = detector_settings(TrackerConfig(), DetectorConfig(), side_px)
    fitted = calibration("micro", "micro", clip.origin)
    settings = replace(settings, calibration=fitted)
    rendered = "micro" in RENDERED_PROMPTS
    bank = text_bank(clip.model, "micro")
    finder = finder_beside(load_sam2("micro").origin)
    return TextDetector(
        sam,
        clip.model,
        bank,
        settings,
        rendered_prompts=rendered,
        finder=finder,
        edges=load_edges("micro"),
    )


def measure(kind: str, count: int, tick: Any) -> tuple[Tally, Tally]:
    """Return what showing finds and what the text finds."""
    tracker = load_tracker("micro")
    shown, named = Tally(), Tally()
    for picture in pictures(kind, count):
        detector = make_detector(tracker.model)
        features: Features = tracker.encode(picture.image)
        example = Shown(LABEL, true_box(picture.ids, picture.shown))
        look = detector.look(picture.image, features, (), exemplars=[LABEL], shown=[example])
        shown.add(look.found, picture)
        shown.refused += look.refused.values()
        named.add(detector.detect(picture.image, features, [picture.text]), picture)
        tick()
    return shown, named


def main(args: argparse.Namespace) -> None:
    """Measure and print."""
    figures: dict[str, Any] = {}
    with progress() as bar:
        task = bar.add_task("pictures", total=2 * args.pictures)
        for kind in ("cells", "shapes"):
            shown, named = measure(kind, args.pictures, lambda: bar.advance(task))
            figures[kind] = {"shown": shown.figures(), "named": named.figures()}
    rows = [
        [kind, way, *(_said(value) for value in figures[kind][way].values())]
        for kind in figures
        for way in ("shown", "named")
    ]
    columns = ["pictures", "by", "recall", "precision", "objects", "detections", "refused"]
    write(args, [Table("Found by one object shown, or by its name", columns, rows)], figures)


def _said(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def options() -> argparse.ArgumentParser:
    """Return the options."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pictures", type=positive, default=12, help="of each kind")
    parser.add_argument("--threads", type=positive, default=2, help="for the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    # They stand beside the figures in the file.
    parser.set_defaults(model="micro", weights=None, device="cpu")
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main, options().parse_args()))
