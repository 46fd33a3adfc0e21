"""Held-out pictures with the text that was found for each, before and after."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from train.clip.measure import HeldOut
from train.clip.pictures import Eye
from train.clip.wording import is_chinese

COLUMNS, MOST = 5, 20
SIDE_PX, LINE_PX, GAP_PX, WORD_PX = 170, 15, 8, 26
RIGHT, WRONG, INK = "#2e7d32", "#b3261e", "#444444"
_CHINESE_FONTS = (
    "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf",
    "PingFang.ttc", "msyh.ttc",
)  # fmt: skip

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_sheet(
    path: Path, held: HeldOut, eye: Eye, relation: Tensor, before: Tensor, after: Tensor
) -> None:
    """Write a PNG of up to 20 pictures, the texts below them green where they are true.

    Args:
        path: The picture.
        held: Pictures and texts.
        eye: How their planes were made.
        relation: (B, T): 1 true, 0 not, -1 unsure.
        before: (B, T) similarities of the model that training began with.
        after: (B, T) similarities of the result.
    """
    count = min(MOST, len(held.seens))
    # Evenly over all of them, so that not only the first names are shown.
    rows = [number * len(held.seens) // count for number in range(count)]
    cell = (SIDE_PX + GAP_PX, SIDE_PX + 2 * LINE_PX + GAP_PX)
    lines = -(-count // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * cell[0] + GAP_PX, lines * cell[1] + GAP_PX), "white")
    pen = ImageDraw.Draw(sheet)
    for place, row in enumerate(rows):
        x = GAP_PX + place % COLUMNS * cell[0]
        y = GAP_PX + place // COLUMNS * cell[1]
        sheet.paste(_picture(held.seens[row].planes, eye), (x, y))
        for line, (word, scores) in enumerate((("was", before), ("is", after))):
            best = int(scores[row].argmax())
            colour = (
                RIGHT if relation[row, best] > 0 else WRONG if relation[row, best] == 0 else INK
            )
            at = (x, y + SIDE_PX + 1 + line * LINE_PX)
            pen.text(at, word, fill=colour, font=_font(False))
            text = held.texts[best]
            # Fonts for Chinese may lack Latin letters, and the other way round.
            font = _font(is_chinese(text))
            at = (x + WORD_PX, at[1])
            pen.text(at, _fitting(pen, text, font), fill=colour, font=font)
    sheet.save(path, optimize=True)


def _picture(planes: Tensor, eye: Eye) -> Image.Image:
    mean, std = (torch.tensor(part)[:, None, None] for part in eye.statistics)
    pixels = ((planes.float() * std + mean) * 255.0).round().clamp(0, 255).byte()
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    return image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)


def _fitting(pen: ImageDraw.ImageDraw, text: str, font: Font) -> str:
    """Return a text cut to the room beside the first word."""
    room = SIDE_PX - WORD_PX
    if pen.textlength(text, font=font) <= room:
        return text
    while text and pen.textlength(f"{text}...", font=font) > room:
        text = text[:-1]
    return f"{text}..."


@lru_cache(maxsize=2)
def _font(chinese: bool) -> Font:
    """Return a font; without one of the machine's Chinese fonts, Pillow's own shows boxes."""
    for name in _CHINESE_FONTS if chinese else ():
        try:
            return ImageFont.truetype(name, 11)
        except OSError:
            continue
    return ImageFont.load_default(11)
