"""From labelled images to what CLIP sees: whole pictures, crops of objects, windows of patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engines.clip_models import image_statistics, own_size_px
from engines.crops import CROP_STYLES, cut_out, paint, square_box
from engines.images import to_input
from train.clip.wording import label_texts, text_key
from train.readers.samples import IGNORE, LabelledImage

UNKNOWN = -1
"""Target of patches of which nothing is learnt."""
OBJECT_COVER, BACKGROUND_COVER = 0.55, 0.96
LEAST_OBJECT_PX = 36
"""Area under which an object is not cropped."""
_CPU = torch.device("cpu")

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]
Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Eye:
    """How a model takes pictures."""

    side_px: int
    """Of the square that it was made for."""
    patch_px: int
    dense_px: int
    """Side of the square that runs look at, patch by patch."""
    statistics: Statistics
    """Mean and standard deviation by channel."""

    def planes(self, image: npt.NDArray[np.uint8], side_px: int | None = None) -> Tensor:
        """Return (3, side, side) float32 of (H, W, 3) uint8, squeezed into the square."""
        side = side_px or self.side_px
        return to_input(image, (side, side), *self.statistics, _CPU)[0]


def eye_of(visual: object, dense_px: int) -> Eye:
    """Return how an image tower takes pictures; `dense_px` is cut down to whole patches."""
    patch = int(visual.conv1.kernel_size[0])  # type: ignore[attr-defined]
    side = own_size_px(visual)
    dense = max(side, dense_px // patch * patch)
    return Eye(side, patch, dense, image_statistics(visual))


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture with what is known to be true of it, and with what may be."""

    planes: Tensor
    """(3, side, side) float32."""
    texts: tuple[str, ...]
    """Its captions, or its label's texts."""
    unsure: frozenset[str]
    """Keys of texts that are neither taught nor denied."""

    @property
    def truths(self) -> frozenset[str]:
        """Keys of its texts."""
        return frozenset(map(text_key, self.texts))


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a picture whose patches have labels."""

    planes: Tensor
    """(3, side, side) float32."""
    targets: Tensor
    """(rows, columns) int64: 0 background, i the label `labels[i - 1]`, -1 unknown."""
    labels: tuple[str, ...]


def whole(image: LabelledImage, eye: Eye, rng: np.random.Generator, zoom: float) -> Seen:
    """Return the whole picture with its captions; labels of its objects may be true of it.

    Args:
        image: With captions.
        eye: How the model takes pictures.
        rng: Source of randomness.
        zoom: How much of each side may be cut off.
    """
    height, width = image.image.shape[:2]
    part = 1.0 - zoom * rng.random()
    rows, cols = max(1, round(height * part)), max(1, round(width * part))
    y, x = int(rng.integers(height - rows + 1)), int(rng.integers(width - cols + 1))
    pixels = np.ascontiguousarray(image.image[y : y + rows, x : x + cols])
    unsure = {text_key(t) for label in image.labels.values() for t in label_texts(label)}
    known = frozenset(map(text_key, image.captions))
    return Seen(eye.planes(pixels), image.captions, frozenset(unsure) - known)


def crop(image: LabelledImage, number: int, eye: Eye, style: str) -> Seen:
    """Return one object as the second look of a run shows it, with its label's texts.

    Args:
        image: With a label and a mask or box for the object.
        number: The object's id.
        eye: How the model takes pictures.
        style: One of `engines.crops.CROP_STYLES`; without a mask it is `raw`.
    """
    inside, masked = _region(image, number)
    region = torch.from_numpy(inside)
    pixels, here = cut_out(image.image, region, square_box(region, image.image.shape[:2]))
    painted = paint(pixels, here, style if masked else "raw")
    texts = label_texts(image.labels[number])
    # A caption of the whole picture may be about this object or about others.
    unsure = frozenset(map(text_key, image.captions)) - frozenset(map(text_key, texts))
    return Seen(eye.planes(painted), texts, unsure)


def objects_of(image: LabelledImage) -> list[int]:
    """Return the ids of labelled objects that are large enough for a crop, ascending."""
    areas: dict[int, float] = {}
    if image.ids is not None:
        numbers, counts = np.unique(image.ids, return_counts=True)
        areas = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    for number, (x0, y0, x1, y1) in image.boxes.items():
        areas.setdefault(number, (x1 - x0) * (y1 - y0))
    known = [n for n in image.labels if n not in (0, IGNORE)]
    return sorted(n for n in known if areas.get(n, 0) >= LEAST_OBJECT_PX)


def any_style(rng: np.random.Generator) -> str:
    """Return one of the ways in which crops are shown."""
    return CROP_STYLES[int(rng.integers(len(CROP_STYLES)))]


def window(image: LabelledImage, eye: Eye, rng: np.random.Generator) -> Window | None:
    """Return a part of the picture at the scale of a run, mostly near an object.

    The part has the side that the model was made for. None without masks.
    """
    regions, labels = label_regions(image)
    if regions is None or not labels:
        return None
    side, large = eye.side_px, eye.dense_px
    places = (np.arange(large) + 0.5) / large
    height, width = regions.shape
    rows, cols = (places * height).astype(np.int64), (places * width).astype(np.int64)
    regions = regions[np.ix_(rows, cols)]
    y, x = (int(rng.integers(large - side + 1)) for _ in range(2))
    spots = np.argwhere(regions > 0)
    if len(spots) and rng.random() < 0.75:
        spot = spots[int(rng.integers(len(spots)))] + rng.integers(-side // 4, side // 4 + 1, 2)
        y, x = (int(v) for v in np.clip(spot - side // 2, 0, large - side))
    planes = eye.planes(image.image, large)[:, y : y + side, x : x + side]
    targets = patch_targets(regions[y : y + side, x : x + side], eye.patch_px)
    return Window(planes.contiguous(), torch.from_numpy(targets), labels)


def label_regions(image: LabelledImage) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Return (H, W) of 0 background, i the label i - 1, -1 unknown; and the labels.

    Objects without a label or a mask, and ignored pixels, are unknown.
    """
    if image.ids is None:
        return None, ()
    labels = tuple(sorted(set(image.labels.values())))
    table = np.full(IGNORE + 1, UNKNOWN, np.int64)
    table[0] = 0
    for number, label in image.labels.items():
        if 0 < number < IGNORE:
            table[number] = labels.index(label) + 1
    regions = table[image.ids]
    for number in image.boxes:
        x0, y0, x1, y1 = _pixels(image.boxes[number], image.ids.shape)
        part = regions[y0:y1, x0:x1]
        part[part == 0] = UNKNOWN
    return regions, labels


def patch_targets(regions: npt.NDArray[np.int64], patch_px: int) -> npt.NDArray[np.int64]:
    """Return what each patch shows: (rows, columns) of `regions`' values, -1 where it is mixed.

    A patch counts as a label's from 55 % cover, as background from 96 %.
    """
    rows, cols = (length // patch_px for length in regions.shape)
    blocks = regions[: rows * patch_px, : cols * patch_px]
    blocks = blocks.reshape(rows, patch_px, cols, patch_px).swapaxes(1, 2).reshape(rows, cols, -1)
    targets = np.full((rows, cols), UNKNOWN, np.int64)
    targets[(blocks == 0).mean(-1) >= BACKGROUND_COVER] = 0
    for value in np.unique(regions):
        if value > 0:
            targets[(blocks == value).mean(-1) >= OBJECT_COVER] = value
    return targets


def _region(image: LabelledImage, number: int) -> tuple[npt.NDArray[np.bool_], bool]:
    """Return (H, W) bool of an object and whether it is a mask."""
    if image.ids is not None and bool((image.ids == number).any()):
        return image.ids == number, True
    inside = np.zeros(image.image.shape[:2], np.bool_)
    x0, y0, x1, y1 = _pixels(image.boxes[number], inside.shape)
    inside[y0:y1, x0:x1] = True
    return inside, False


def _pixels(box: tuple[float, ...], size: tuple[int, ...]) -> Rectangle:
    """Return the whole pixels of a box inside an image, one at least."""
    height, width = size
    x0, y0 = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    x1, y1 = int(np.ceil(box[2])), int(np.ceil(box[3]))
    return x0, y0, min(max(x1, x0 + 1), width), min(max(y1, y0 + 1), height)
