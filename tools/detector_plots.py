"""Plots of curves and bars, drawn with Pillow: no plotting library is needed to measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from train.platt import Bin

SIDE_PX = 300
MARGIN_PX = 52
TOP_PX = 30
LINE_PX = 17
SCALE = 2  # drawn larger and shrunk, so that lines are smooth
INK, GREY, LIGHT, BLUE, RED = "#222222", "#999999", "#e4e4e4", "#3b76af", "#c1443c"
COLOURS = ("#3b76af", "#c1443c", "#4c9a52", "#8d62b5", "#d8862b", "#5b5b5b")


@dataclass(frozen=True)
class Line:
    """One curve: its name and (x, y) in [0, 1]."""

    name: str
    points: Sequence[tuple[float, float]]


class _Square:
    """A square with both axes from 0 to 1.

    Args:
        draw: Of the whole picture, `SCALE` times as large.
        left: Of the square, in pixels.
        title: Above it.
        x_label: Below it.
        y_label: At its upper left.
    """

    def __init__(
        self, draw: ImageDraw.ImageDraw, left: float, title: str, x_label: str, y_label: str
    ) -> None:
        self.draw, self.left = draw, left
        for tick in range(0, 11, 2):
            value = tick / 10
            self.line([(value, 0), (value, 1)], LIGHT, 1)
            self.line([(0, value), (1, value)], LIGHT, 1)
            self.text(self.at(value, 0, 0, 10), f"{value:.1f}", "mm")
            self.text(self.at(0, value, -6, 0), f"{value:.1f}", "rm")
        self.line([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], GREY, 1)
        self.text(self.at(0.5, 1, 0, -14), title, "mm", 13)
        self.text(self.at(0.5, 0, 0, 27), x_label, "mm")
        self.text(self.at(0, 1, 6, 10), y_label, "lm")

    def at(self, x: float, y: float, right: float = 0, down: float = 0) -> tuple[float, float]:
        """Return where a value lies in the large picture."""
        return (
            (self.left + x * SIDE_PX + right) * SCALE,
            (TOP_PX + (1 - y) * SIDE_PX + down) * SCALE,
        )

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float) -> None:
        """Draw a line through values."""
        self.draw.line([self.at(*p) for p in points], colour, round(width * SCALE), "curve")

    def bar(self, x0: float, x1: float, y: float, colour: str) -> None:
        """Draw a bar from 0."""
        self.draw.rectangle([self.at(x0, y), self.at(x1, 0)], colour)

    def text(self, at: tuple[float, float], words: str, anchor: str, size: int = 11) -> None:
        """Write words at a place of the large picture."""
        font = ImageFont.load_default(size * SCALE)
        self.draw.text(at, words, INK, font, anchor)


def precision_recall(lines: Sequence[Line], path: Path, title: str) -> None:
    """Draw recall to the right and precision upwards, and write a PNG."""
    picture, draw = _canvas(1, legend=len(lines))
    square = _Square(draw, MARGIN_PX, title, "recall", "precision")
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        if len(line.points) > 1:
            square.line(line.points, colour, 2)
        down = 46 + number * LINE_PX
        x, y = square.at(0, 0, 0, down)
        draw.line([(x, y), (x + 20 * SCALE, y)], colour, 3 * SCALE)
        square.text((x + 26 * SCALE, y), line.name, "lm")
    _write(picture, path)


def reliability(panels: Sequence[tuple[str, Sequence[Bin]]], path: Path) -> None:
    """Draw for each panel what share was right (bars) at which mean score (dots), write a PNG.

    On the diagonal scores are probabilities; the figures on the bars are numbers of detections.
    """
    picture, draw = _canvas(len(panels))
    for number, (title, bins) in enumerate(panels):
        left = MARGIN_PX + number * (SIDE_PX + MARGIN_PX)
        square = _Square(draw, left, title, "score", "share that is right")
        for place, part in enumerate(bins):
            if not part.count or math.isnan(part.share_right):
                continue
            x0, x1 = place / len(bins), (place + 1) / len(bins)
            square.bar(x0 + 0.008, x1 - 0.008, part.share_right, "#a9c6e0")
            x, y = square.at(part.mean_score, part.share_right)
            reach = 3 * SCALE
            draw.ellipse([x - reach, y - reach, x + reach, y + reach], BLUE)
            square.text(square.at((x0 + x1) / 2, 0, 0, -7), str(part.count), "mm", 9)
        square.line([(0, 0), (1, 1)], RED, 1.2)
    _write(picture, path)


def _canvas(squares: int, legend: int = 0) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    width = MARGIN_PX + squares * (SIDE_PX + MARGIN_PX) - MARGIN_PX + 20
    height = TOP_PX + SIDE_PX + 40 + legend * LINE_PX + (8 if legend else 0)
    picture = Image.new("RGB", (width * SCALE, height * SCALE), "white")
    return picture, ImageDraw.Draw(picture)


def _write(picture: Image.Image, path: Path) -> None:
    size = (picture.width // SCALE, picture.height // SCALE)
    picture.resize(size, Image.Resampling.LANCZOS).quantize(64).save(path, optimize=True)
