"""Whether a text with two or three attributes finds the one thing that it means, among others.

    python tools/measure_attributes.py [--pictures 50] [--json FILE] [--markdown FILE]

Each picture shows six drawn shapes of which one, and only one, is meant: "a red circle" among blue
circles and red squares. The shape is asked for by colour and kind, and by size, colour and kind, in
English and in Chinese; and a shape that is not there is asked for. *Right*: the surest detection
lies on the one meant, at an IoU of 0.5 or more. *Only*: it does, and nothing else is found.
*Nothing*: nothing is found for what is not there. *Told*: the likeness of text and image alone, the
true masks given: the best of all shapes is the one meant.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure_exemplars import best_object
from measuring import Parser, Table, guarded, positive, progress, write

from engines.build import RENDERED_PROMPTS
from engines.calibration import calibration
from engines.detection import Found
from engines.detector import TextDetector
from engines.finder import finder_beside
from engines.registry import load_clip, load_edges, load_sam2, load_tracker
from engines.texts import text_bank
from stream.config import DetectorConfig, TrackerConfig
from stream.core.detect import default_clip_size, detector_settings
from stream.synth.shapes import COLOURS, KINDS, SIZES, draw_shapes

SHAPES = 6
RIGHT_IOU = 0.5
FIRST_SEED = 31_000  # far from the seeds that training draws
CHINESE = {
    "red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色", "white": "白色",
    "black": "黑色",
    "circle": "圆形", "square": "方形", "triangle": "三角形", "star": "星形",
    "small": "小", "large": "大",
}  # fmt: skip
WAYS = ("two attributes", "two, Chinese", "three attributes", "three, Chinese")


@dataclass(frozen=True)
class Picture:
    """A picture of shapes of which one is meant, and one is not there."""

    image: np.ndarray
    ids: np.ndarray
    meant: int
    words: tuple[str, str, str]
    """Size, colour and kind of the one meant."""
    absent: tuple[str, str]
    """Colour and kind of which there is nothing."""

    def text(self, way: str) -> str:
        """Say what is meant."""
        size, colour, kind = self.words
        parts = (colour, kind) if way.startswith("two") else (size, colour, kind)
        return say(parts, "Chinese" in way)


def say(words: Sequence[str], chinese: bool) -> str:
    """Return a text of English attribute words, or its Chinese."""
    if chinese:
        return "".join(CHINESE[word] for word in words)
    return "a " + " ".join(words)


def pictures(count: int) -> Iterator[Picture]:
    """Draw pictures in which one shape is alone in its colour and kind."""
    seed = FIRST_SEED
    while count:
        picture = draw(seed)
        seed += 1
        if picture is not None:
            count -= 1
            yield picture


def draw(seed: int) -> Picture | None:
    """Draw one picture; None where no shape is alone, or everything is there."""
    rng = np.random.default_rng(seed)
    image, ids, words = draw_shapes(rng, 640, 480, SHAPES)
    names = {number: tuple(texts[1].split()[1:]) for number, texts in words.items()}
    pairs = [name[1:] for name in names.values()]
    alone = [number for number, name in names.items() if pairs.count(name[1:]) == 1]
    there = set(pairs)
    # What is not there shares its colour or its kind with something that is.
    near = [
        (colour, kind)
        for colour in COLOURS
        for kind in KINDS
        if (colour, kind) not in there
        and (colour in {c for c, _ in there} or kind in {k for _, k in there})
    ]
    if not alone or not near or len(names) < SHAPES - 2:
        return None
    meant = int(rng.choice(alone))
    size, colour, kind = names[meant]
    assert size in SIZES, "the drawing's words are size, colour and kind"
    return Picture(image, ids, meant, (size, colour, kind), near[int(rng.integers(len(near)))])


def judge(found: list[Found], picture: Picture) -> tuple[bool, bool]:
    """Return whether the surest detection is the one meant, and whether it is alone."""
    if not found:
        return False, False
    best, iou = best_object(max(found, key=lambda item: item.score).mask, picture.ids)
    right = best == picture.meant and iou >= RIGHT_IOU
    return right, right and len(found) == 1


class Models:
    """The detector as the live stage has it, and the likeness of texts and masks by itself."""

    def __init__(self, weights: str | None, clip_weights: str | None, refine: bool) -> None:
        self.tracker = load_tracker("micro", weights=weights)
        clip = load_clip("micro", clip_weights)
        side_px = default_clip_size("micro", clip.model.visual)
        settings = detector_settings(TrackerConfig(), DetectorConfig(), side_px)
        fitted = calibration("micro", "micro", clip.origin)
        settings = replace(settings, calibration=fitted)
        self._bank = text_bank(clip.model, "micro")
        self.detector = TextDetector(
            self.tracker.model,
            clip.model,
            self._bank,
            settings,
            rendered_prompts="micro" in RENDERED_PROMPTS,
            finder=finder_beside(load_sam2("micro", weights).origin),
            edges=load_edges("micro", weights) if refine else None,
        )

    def find(self, picture: Picture, text: str) -> list[Found]:
        """Return what the text finds."""
        return self.detector.detect(picture.image, self.tracker.encode(picture.image), [text])

    def told(self, picture: Picture, text: str) -> bool:
        """Return whether the heatmap under the true masks is highest for the one meant."""
        heat = torch.as_tensor(self.detector.heatmap(picture.image, [text])[0]).float()
        rows = (torch.arange(heat.shape[0]) + 0.5) * picture.ids.shape[0] / heat.shape[0]
        cols = (torch.arange(heat.shape[1]) + 0.5) * picture.ids.shape[1] / heat.shape[1]
        small = torch.as_tensor(picture.ids.astype(np.int64))[rows.long()][:, cols.long()]
        means = {
            int(number): float(heat[small == number].mean())
            for number in torch.unique(small)
            if number
        }
        return bool(means) and max(means, key=lambda number: means[number]) == picture.meant


def measure(models: Models, count: int, tick: Any) -> dict[str, dict[str, float]]:
    """Return shares of pictures, by way of asking."""
    seen: dict[str, dict[str, list[bool]]] = {}
    for picture in pictures(count):
        for way in WAYS:
            text = picture.text(way)
            right, only = judge(models.find(picture, text), picture)
            marks = seen.setdefault(way, {"right": [], "only": [], "told": []})
            marks["right"].append(right)
            marks["only"].append(only)
            marks["told"].append(models.told(picture, text))
        for way, chinese in (("not there", False), ("not there, Chinese", True)):
            nothing = not models.find(picture, say(picture.absent, chinese))
            seen.setdefault(way, {"nothing": []})["nothing"].append(nothing)
        tick()
    return {
        way: {name: round(float(np.mean(marks)), 3) for name, marks in found.items()}
        for way, found in seen.items()
    }


def main(args: argparse.Namespace) -> None:
    """Measure and print."""
    torch.set_num_threads(args.threads)
    models = Models(args.weights, args.clip_weights, not args.no_refine)
    with progress() as bar:
        task = bar.add_task("pictures", total=args.pictures)
        figures = measure(models, args.pictures, lambda: bar.advance(task))
    columns = ["asked", "right", "only", "told", "nothing"]
    rows = [
        [way, *(f"{found[name]:.2f}" if name in found else "" for name in columns[1:])]
        for way, found in figures.items()
    ]
    title = f"Shapes meant by their attributes, {args.pictures} drawn pictures"
    write(args, [Table(title, columns, rows)], {"pictures": args.pictures, "asked": figures})


def options() -> argparse.ArgumentParser:
    """Return the options."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pictures", type=positive, default=50)
    parser.add_argument("--weights", help="of the micro segmenter; the packaged ones unless given")
    parser.add_argument("--clip-weights", help="of the micro CLIP; the packaged ones unless given")
    parser.add_argument("--no-refine", action="store_true", help="leave the edges as they are")
    parser.add_argument("--threads", type=positive, default=2, help="for the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    parser.set_defaults(model="micro", device="cpu")
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main, options().parse_args()))
