"""Draw a data set of captions that can only be told apart by their attributes.

    python tools/make_attribute_set.py --out DIR [--each 10] [--objects 1] [--side 256] [--seed 0]

Writes DIR/images, DIR/captions.txt (one English and one Chinese caption an image) and
DIR/annotations with instance masks and labels.csv. With one object an image there are 48 captions,
sixteen colours x three sizes, none of which the micro models were trained on, and `--each`
images of every one. With more objects captions join them, left to right,
and `--images` says how many pictures are drawn.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measuring import Parser, positive, progress
from PIL import Image

COLOURS = {
    "orange": ("橙色", (240, 130, 20)),
    "purple": ("紫色", (120, 40, 160)),
    "pink": ("粉色", (250, 130, 190)),
    "cyan": ("青色", (20, 200, 215)),
    "brown": ("棕色", (110, 65, 30)),
    "navy": ("深蓝色", (15, 25, 95)),
    "lime": ("黄绿色", (150, 225, 30)),
    "silver": ("银色", (178, 182, 190)),
    "magenta": ("品红色", (225, 20, 150)),
    "olive": ("橄榄色", (120, 120, 30)),
    "teal": ("蓝绿色", (15, 120, 120)),
    "beige": ("米色", (230, 215, 180)),
    "maroon": ("栗色", (115, 10, 35)),
    "mint": ("薄荷色", (150, 235, 190)),
    "lavender": ("淡紫色", (185, 160, 240)),
    "charcoal": ("炭灰色", (55, 58, 62)),
}
#: Radius as part of the picture's side; several objects share the room.
SIZES = {
    "tiny": ("微小的", (0.07, 0.09)),
    "medium-sized": ("中等大小的", (0.16, 0.19)),
    "huge": ("巨大的", (0.30, 0.36)),
}
LIKENESS = 90.0
"""Least distance in RGB of an object's colour from the ground's."""


@dataclass(frozen=True)
class Item:
    """What one disc is."""

    size: str
    colour: str

    @property
    def english(self) -> str:
        """As in "a tiny orange disc"."""
        return f"a {self.size} {self.colour} disc"

    @property
    def chinese(self) -> str:
        """As in "微小的橙色圆盘"."""
        return f"{SIZES[self.size][0]}{COLOURS[self.colour][0]}圆盘"

    @property
    def label(self) -> str:
        """Without the size, so that a part of the object shows it as well as the whole."""
        return f"{self.colour} disc"


@dataclass(frozen=True)
class Drawn:
    """A picture: (H, W, 3) uint8, ids (H, W) uint16, and its objects from id 1 on."""

    image: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.uint16]
    items: tuple[Item, ...]


def every_item() -> list[Item]:
    """Return all combinations of size and colour."""
    return [Item(*parts) for parts in itertools.product(SIZES, COLOURS)]


def draw_picture(rng: np.random.Generator, side_px: int, items: Sequence[Item]) -> Drawn:
    """Draw objects from left to right on a plain or graded ground with grain.

    Args:
        rng: Source of randomness.
        side_px: Width and height.
        items: What is drawn; several stand in columns of the same width.
    """
    ground = _ground_colour(rng, items)
    turn = rng.uniform(-math.pi, math.pi)
    line = np.linspace(-1.0, 1.0, side_px)
    slope = line[None] * math.cos(turn) + line[:, None] * math.sin(turn)
    canvas = ground + slope[..., None] * rng.uniform(-25.0, 25.0)
    ids = np.zeros((side_px, side_px), np.uint16)
    room = side_px / len(items)
    for number, item in enumerate(items, 1):
        radius = rng.uniform(*SIZES[item.size][1]) * side_px
        radius = min(radius, 0.48 * room)
        x = rng.uniform(radius, room - radius) + (number - 1) * room
        y = rng.uniform(radius, side_px - radius)
        cover = disc_cover(side_px, (x, y), radius)
        paint = np.array(COLOURS[item.colour][1]) + rng.uniform(-10.0, 10.0, 3)
        canvas += cover[..., None] * (paint - canvas)
        ids[cover > 0.5] = number
    canvas += rng.normal(0.0, rng.uniform(0.0, 4.0), canvas.shape)
    return Drawn(np.clip(canvas, 0, 255).astype(np.uint8), ids, tuple(items))


def disc_cover(side_px: int, centre: tuple[float, float], radius: float) -> npt.NDArray[np.float64]:
    """Return how much of each pixel a disc covers, (side_px, side_px) in [0, 1]."""
    line = np.arange(side_px) + 0.5
    away = np.hypot(line[None] - centre[0], line[:, None] - centre[1])
    return np.clip(radius - away + 0.5, 0.0, 1.0)


def _ground_colour(rng: np.random.Generator, items: Sequence[Item]) -> npt.NDArray[np.float64]:
    while True:
        ground = rng.uniform(20.0, 245.0) + rng.uniform(-10.0, 10.0, 3)
        apart = [math.dist(ground, COLOURS[item.colour][1]) for item in items]
        if min(apart) > LIKENESS:
            return ground


def pictures(
    each: int, objects: int, images: int, rng: np.random.Generator
) -> list[tuple[Item, ...]]:
    """Return what each picture shows."""
    known = every_item()
    if objects == 1:
        return [(item,) for item in known for _ in range(each)]
    chosen = []
    while len(chosen) < images:
        picked = tuple(known[int(i)] for i in rng.choice(len(known), objects, replace=False))
        # Two objects of one label could not be told apart by it.
        if len({item.label for item in picked}) == objects:
            chosen.append(picked)
    return chosen


def write_set(folder: Path, shown: Sequence[tuple[Item, ...]], side_px: int, seed: int) -> None:
    """Draw all pictures and write the data set."""
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    captions: list[str] = []
    labels: list[tuple[str, int, str]] = []
    with progress() as bar:
        for number, items in bar.track(list(enumerate(shown)), description="drawing"):
            drawn = draw_picture(np.random.default_rng((seed, number)), side_px, items)
            stem = f"attribute_{number:05d}"
            Image.fromarray(drawn.image).save(folder / "images" / f"{stem}.png", compress_level=1)
            mask = Image.fromarray(drawn.ids.astype(np.uint8))
            mask.save(folder / "annotations" / f"{stem}.png")
            captions.append(f"{stem}.png: {' and '.join(item.english for item in items)}")
            captions.append(f"{stem}.png: {'和'.join(item.chinese for item in items)}")
            labels += [(stem, place, item.label) for place, item in enumerate(items, 1)]
    (folder / "captions.txt").write_text("\n".join(captions) + "\n", "utf-8")
    with (folder / "annotations" / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("stem", "id", "label"))
        writer.writerows(labels)


def main(argv: list[str] | None = None) -> int:
    """Read the options and draw; returns the exit status."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--each", type=positive, default=10, help="images of a combination")
    parser.add_argument("--objects", type=positive, default=1, help="objects an image")
    parser.add_argument("--images", type=positive, default=400, help="where objects > 1")
    parser.add_argument("--side", type=positive, default=256, help="of an image, in px")
    parser.add_argument("--seed", type=int, default=0)
    args: argparse.Namespace = parser.parse_args(argv)
    if args.side < 64:
        parser.error(f"--side {args.side} is too small; accepted is 64 or more")
    if args.objects > 4:
        parser.error(f"--objects {args.objects} leave no room; accepted is 1 to 4")
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"--out {args.out}: is not empty; name a new folder")
    rng = np.random.default_rng((args.seed, 2**31))
    shown = pictures(args.each, args.objects, args.images, rng)
    write_set(args.out, shown, args.side, args.seed)
    print(f"{len(shown)} images in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
