"""Labelled scenes for the micro CLIP.

Crops with a concept for every pixel, and for the crop as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stream.synth import CellFilm, draw_shapes
from train.micro.data import (
    HELD_OUT_PERCENT,
    BoxedImage,
    Still,
    is_held_out,
    read_bccd,
    read_dsb2018,
)
from train.micro.films import TRAINING_SEEDS, VALIDATION_SEEDS, spec_of, squeeze, squeeze_ids
from train.micro.motion import clip_from_still, random_look
from train.micro.words import (
    BACKGROUND,
    ERYTHROCYTE,
    LEUKOCYTE,
    NUCLEUS,
    THROMBOCYTE,
    Concept,
    shape_concept,
)

#: Side of the crops that most steps see, and of whole scenes, which the detector sees.
CROP, SCENE = 256, 512
#: Side of the windows that are cut from scenes around objects, and of the model's patches.
WINDOW, PATCH = 192, 16
#: Region number of pixels about which nothing is claimed.
IGNORE = -1
_BLOOD = {"RBC": ERYTHROCYTE, "WBC": LEUKOCYTE, "Platelets": THROMBOCYTE}


@dataclass(frozen=True)
class Scene:
    """A picture whose pixels are labelled.

    Attributes:
        image: (3, H, W) float32 in [0, 1].
        regions: (H, W) int64 index into ``concepts``; 0 is background, -1 unknown.
        objects: (H, W) int64 instance numbers, 0 none.
        concepts: what the regions are; the first is background.
        whole: index of the concept that the picture as a whole shows, or -1.
        corner: row and column in patches where a window was cut from a scene, or None.
    """

    image: Tensor
    regions: Tensor
    objects: Tensor
    concepts: tuple[Concept, ...]
    whole: int = IGNORE
    corner: tuple[int, int] | None = None


class ClipPool:
    """Sources of scenes, in memory.

    Args:
        data: folder with ``dsb2018_nuclei`` and ``bccd_blood``.
        held_out: which side of the split.
        frames: synthetic film frames to draw.
        extra_shapes: share of scenes that are shapes, on top of those of the ordinary mixture.
        percent: size of the side that is never trained on.
    """

    def __init__(
        self,
        data: Path,
        held_out: bool,
        frames: int,
        extra_shapes: float = 0.0,
        percent: int = HELD_OUT_PERCENT,
    ) -> None:
        self.extra_shapes = extra_shapes
        self.stills = [
            s
            for s in read_dsb2018(data / "dsb2018_nuclei")
            if is_held_out(s.name, percent) == held_out
        ]
        smears = read_bccd(data / "bccd_blood") if (data / "bccd_blood").is_dir() else []
        self.smears = [b for b in smears if is_held_out(b.name, percent) == held_out]
        base = VALIDATION_SEEDS if held_out else TRAINING_SEEDS + 50_000
        self.frames = [film_still(base + i) for i in range(frames)]

    def scene(self, rng: np.random.Generator, plain: bool = False) -> Scene:
        """A random scene of 512x512 (a crop of an image, for nuclei).

        With a random look unless ``plain``.
        """
        if self.extra_shapes > 0 and rng.random() < self.extra_shapes:
            return shapes_scene(rng)
        kind = rng.random()
        if kind < 0.40:
            return self._of_still(self.frames[int(rng.integers(len(self.frames)))], rng, plain)
        if kind < 0.62:
            return self.nuclei(rng)
        if kind < 0.78 and self.smears:
            return smear_scene(self.smears[int(rng.integers(len(self.smears)))], rng, plain)
        if kind < 0.97:
            return shapes_scene(rng)
        return blank_scene(rng)

    def film_scene(self, index: int) -> Scene:
        """One drawn frame as it is."""
        return self._of_still(self.frames[index], np.random.default_rng(0), True)

    def nuclei(self, rng: np.random.Generator) -> Scene:
        """Real nuclei, zoomed to the sizes that cells have in a live picture."""
        still = self.stills[int(rng.integers(len(self.stills)))]
        clip = clip_from_still(still, 1, SCENE, rng, None, (22.0, 130.0))
        return _cells(clip.images[0], clip.ids[0])

    def _of_still(self, still: Still, rng: np.random.Generator, plain: bool) -> Scene:
        image = torch.from_numpy(still.image).permute(2, 0, 1).float() / 255.0
        ids = torch.from_numpy(still.ids.astype(np.int64))
        if not plain and rng.random() < 0.5:
            image = random_look(image[None], rng)[0]
        return _cells(image, ids)


def film_still(seed: int) -> Still:
    """One frame of a synthetic film, squeezed to 512x512."""
    frame = CellFilm(spec_of(seed)).frame()
    image, ids = squeeze(frame.image, SCENE), squeeze_ids(frame.ids, SCENE)
    return Still(f"synth/{seed}", image, ids, "synth")


def _cells(image: Tensor, ids: Tensor) -> Scene:
    return Scene(image, (ids > 0).long(), ids.long(), (BACKGROUND, NUCLEUS))


def smear_scene(smear: BoxedImage, rng: np.random.Generator, plain: bool) -> Scene:
    """A blood smear; a box's inscribed ellipse is taken for the cell.

    The rest of the box is unknown.
    """
    height, width = smear.image.shape[:2]
    shown = squeeze(smear.image, SCENE)
    image = torch.from_numpy(shown).permute(2, 0, 1).float() / 255.0
    regions = torch.zeros(SCENE, SCENE, dtype=torch.long)
    objects = torch.zeros(SCENE, SCENE, dtype=torch.long)
    # Cells cut by the border are often unlabelled, and white cells lie above red ones.
    for edge in (regions[:24], regions[-24:], regions[:, :24], regions[:, -24:]):
        edge.fill_(IGNORE)
    names = sorted(_BLOOD, key=("RBC", "Platelets", "WBC").index)
    scale = np.array([SCENE / width, SCENE / height] * 2)
    line = torch.arange(SCENE) + 0.5
    order = sorted(range(len(smear.classes)), key=lambda i: names.index(smear.classes[i]))
    for index in order:
        x0, y0, x1, y1 = (smear.boxes[index] * scale).tolist()
        across = ((line - (x0 + x1) / 2) / max((x1 - x0) / 2, 1.0)) ** 2
        down = ((line - (y0 + y1) / 2) / max((y1 - y0) / 2, 1.0)) ** 2
        distance = down[:, None] + across[None]
        box = (across[None] <= 1.0) & (down[:, None] <= 1.0)
        regions[box & (regions == 0)] = IGNORE
        inside = distance <= 0.85
        regions[inside] = 1 + names.index(smear.classes[index])
        objects[inside] = index + 1
    if not plain:
        image = smear_look(image, rng)
    return Scene(image, regions, objects, (BACKGROUND, *(_BLOOD[n] for n in names)))


def smear_look(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Mild changes of light and hue: colour tells the kinds of blood cells apart."""
    gain = torch.tensor(rng.normal(1.0, 0.08, (3, 1, 1)), dtype=torch.float32)
    return (image * gain + float(rng.normal(0, 0.04))).clamp(0.0, 1.0)


def shapes_scene(rng: np.random.Generator) -> Scene:
    """Coloured shapes."""
    picture, ids, labels = draw_shapes(rng, SCENE, SCENE, int(rng.integers(2, 12)))
    concepts: list[Concept] = [BACKGROUND]
    table = np.zeros(int(ids.max()) + 1, np.int64)
    for number, words in labels.items():
        _, size, colour, shape = words[1].split()
        table[number] = len(concepts)
        concepts.append(shape_concept(colour, shape, size))
    image = torch.from_numpy(picture).permute(2, 0, 1).float() / 255.0
    objects = torch.from_numpy(ids.astype(np.int64))
    return Scene(image, torch.from_numpy(table)[objects], objects, tuple(concepts))


def blank_scene(rng: np.random.Generator) -> Scene:
    """Nothing: a plain or graded picture with noise."""
    base = rng.uniform(0.0, 1.0, (3, 1, 1)) if rng.random() < 0.3 else rng.uniform(0.0, 1.0)
    image = torch.zeros(3, SCENE, SCENE) + torch.tensor(base, dtype=torch.float32)
    image = image + torch.linspace(-1, 1, SCENE) * float(rng.normal(0, 0.08))
    noise = torch.from_numpy(rng.standard_normal((3, SCENE, SCENE), dtype=np.float32))
    image = (image + noise * float(rng.uniform(0, 0.06))).clamp(0, 1)
    nothing = torch.zeros(SCENE, SCENE, dtype=torch.long)
    return Scene(image, nothing, nothing, (BACKGROUND,), 0)


def crop_anywhere(scene: Scene, rng: np.random.Generator) -> Scene:
    """A 256x256 part of a scene at its own scale.

    As a whole it is claimed to show something only if it is empty.
    """
    y, x = (int(rng.integers(0, SCENE - CROP + 1)) for _ in range(2))
    part = (slice(y, y + CROP), slice(x, x + CROP))
    regions = scene.regions[part]
    whole = 0 if bool((regions == 0).all()) else IGNORE
    return Scene(
        scene.image[:, part[0], part[1]], regions, scene.objects[part], scene.concepts, whole
    )


def window_at_object(scene: Scene, rng: np.random.Generator, side: int = WINDOW) -> Scene | None:
    """A part of a scene at its own scale with one of its objects in it.

    Args:
        scene: The whole scene.
        rng: Source of randomness.
        side: Of the window in pixels, a multiple of the patch.

    Returns:
        The window at any pixel; its place in patches is about where it was cut. None where the
        scene has no objects, or the one that was chosen is too large for the window.
    """
    chosen = _some_object(scene, rng)
    if chosen is None:
        return None
    rows, columns = torch.nonzero(scene.objects == chosen, as_tuple=True)
    corner = []
    for place in (rows, columns):
        first, last = int(place.min()), int(place.max())
        # A pixel of room on each side, so that no edge cuts the object.
        low, high = max(0, last + 2 - side), min(first - 1, SCENE - side)
        if low > high and side < WINDOW:
            return None
        low, high = (low, high) if low <= high else (0, SCENE - side)
        corner.append(int(rng.integers(low, high + 1)))
    y, x = corner
    part = (slice(y, y + side), slice(x, x + side))
    return Scene(
        scene.image[:, part[0], part[1]],
        scene.regions[part],
        scene.objects[part],
        scene.concepts,
        corner=(y // PATCH, x // PATCH),
    )


def _some_object(scene: Scene, rng: np.random.Generator) -> int | None:
    numbers = np.flatnonzero(np.bincount(scene.objects.numpy().ravel()))
    numbers = numbers[numbers > 0]
    return int(rng.choice(numbers)) if len(numbers) else None


def crop_object(
    scene: Scene, rng: np.random.Generator, side_px: int = CROP, grey: float = 0.25
) -> Scene | None:
    """One object, enlarged; its surroundings raw, grey or dimmed, as a verifier would show it.

    Args:
        scene: The whole scene.
        rng: Source of randomness.
        side_px: Of the crop.
        grey: How often the surroundings are grey.

    Returns:
        The crop, or None where there is no object, or one that is too small.
    """
    chosen = _some_object(scene, rng)
    if chosen is None:
        return None
    mask = scene.objects == chosen
    rows, columns = torch.nonzero(mask, as_tuple=True)
    if len(rows) < 60:
        return None
    region = int(scene.regions[rows[0], columns[0]])
    if region < 1:
        return None
    height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    side = int(np.clip(max(height, width) * rng.uniform(1.1, 2.2), 16, SCENE))
    y = int(np.clip((rows.min() + rows.max()) // 2 - side // 2, 0, SCENE - side))
    x = int(np.clip((columns.min() + columns.max()) // 2 - side // 2, 0, SCENE - side))
    part = (slice(y, y + side), slice(x, x + side))
    image, here = scene.image[:, part[0], part[1]], mask[part].float()
    treatment = rng.random()
    if treatment < grey:
        image = image * here + (1 - here) * (128.0 / 255.0)
    elif treatment < grey + 0.25:
        image = image * here + (1 - here) * (0.4 * image + 0.6 * 128.0 / 255.0)
    concept = scene.concepts[region]
    if " " in concept.name and concept.name.split()[0] in ("small", "large"):
        _, colour, shape = concept.name.split()
        concept = shape_concept(colour, shape, None)
    size = (side_px, side_px)
    enlarged = F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
    unknown = torch.full(size, IGNORE, dtype=torch.long)
    return Scene(enlarged.clamp(0, 1), unknown, unknown, (BACKGROUND, concept), 1)


def patch_targets(regions: Tensor, patch: int = 16) -> Tensor:
    """Concept of each patch: the region that covers most of it; -1 where it is mixed or unknown.

    Args:
        regions: (H, W) int64.
        patch: side in pixels.

    Returns:
        (H / patch, W / patch) int64. A patch counts as an object's from 55 % cover, as background
        up to 4 % of objects.
    """
    rows, columns = regions.shape[0] // patch, regions.shape[1] // patch
    blocks = regions.view(rows, patch, columns, patch).permute(0, 2, 1, 3).flatten(2)
    out = torch.full((rows, columns), IGNORE, dtype=torch.long)
    area = patch * patch
    out[(blocks == 0).sum(dim=2) >= 0.96 * area] = 0
    for region in range(int(regions.max()) + 1):
        if region > 0:
            out[(blocks == region).sum(dim=2) >= 0.55 * area] = region
    return out
