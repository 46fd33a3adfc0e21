"""What is cut out of labelled images, and which texts are true of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stream.errors import MaskcastError
from tests.train.clip import tinyclip
from train.clip.attributes import Swapper
from train.clip.draws import Draws, relation
from train.clip.pictures import Eye, crop, label_regions, objects_of, patch_targets, whole, window
from train.readers.samples import IGNORE, ImageSample, LabelledImage

EYE = Eye(32, 8, 64, ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
RNG = np.random.default_rng


def scene() -> LabelledImage:
    """A red square (1), a blue one (2), one without a label (3), and an ignored corner."""
    image = np.full((64, 64, 3), 60, np.uint8)
    ids = np.zeros((64, 64), np.uint16)
    for number, (y, x, colour) in enumerate(
        [(0, 0, (255, 0, 0)), (32, 32, (0, 0, 255)), (0, 48, (0, 255, 0))], 1
    ):
        image[y : y + 16, x : x + 16], ids[y : y + 16, x : x + 16] = colour, number
    ids[56:, :8] = IGNORE
    labels = {1: "red square", 2: "蓝色方形"}
    return LabelledImage(image, ids, {}, labels, ("A red square and more", "red square"))


def test_texts_of_objects_may_be_true_of_the_whole_picture() -> None:
    seen = whole(scene(), EYE, RNG(0), 0.0)
    assert seen.planes.shape == (3, 32, 32)
    keys = ["red square", "photo of red square", "蓝色方形", "green square"]
    # Its own caption is true even where it is a label as well; what is nowhere is false.
    assert relation([seen], keys).tolist() == [[1, -1, -1, 0]]


def test_captions_may_be_true_of_a_crop() -> None:
    seen = crop(scene(), 1, EYE, "grey")
    keys = ["red square", "photo of red square", "red square and more", "蓝色方形"]
    assert relation([seen], keys).tolist() == [[1, 1, -1, 0]]


@pytest.mark.parametrize(("style", "beside"), [("grey", 128), ("raw", 60), ("soft", 101)])
def test_crops_look_as_in_a_run(style: str, beside: int) -> None:
    planes = crop(scene(), 2, EYE, style).planes
    corner, centre = (planes[:, 0, 0] * 0.25 + 0.5) * 255, (planes[:, 16, 16] * 0.25 + 0.5) * 255
    assert corner.tolist() == pytest.approx([beside] * 3, abs=1)
    assert centre.tolist() == pytest.approx([0, 0, 255], abs=1)


def test_objects_with_a_label_and_a_size_are_cropped() -> None:
    image = scene()
    assert objects_of(image) == [1, 2]
    small = LabelledImage(image.image, None, {4: (1, 1, 4, 4), 5: (0, 0, 20, 20)}, {4: "a", 5: "b"})
    assert objects_of(small) == [5]
    assert crop(small, 5, EYE, "grey").texts == ("b", "a photo of b")


def test_regions_leave_out_what_is_not_known() -> None:
    image = scene()
    boxed = LabelledImage(image.image, image.ids, {9: (20.0, 0.0, 24.0, 4.0)}, image.labels)
    regions, labels = label_regions(boxed)
    assert labels == ("red square", "蓝色方形")
    assert regions is not None
    at = {(0, 0): 1, (40, 40): 2, (30, 20): 0, (0, 50): -1, (60, 0): -1, (1, 21): -1}
    assert {place: int(regions[place]) for place in at} == at


def test_patches_belong_to_what_covers_them() -> None:
    regions = np.zeros((16, 24), np.int64)
    regions[:8, :5] = 1  # 62 % of the first patch
    regions[:8, 8:10] = 1  # 25 % of the second
    regions[8:, 8:16] = 2
    regions[8:, 16:] = -1
    assert patch_targets(regions, 8).tolist() == [[1, -1, 0], [0, 2, -1]]


def test_windows_are_at_the_scale_of_a_run() -> None:
    found = window(scene(), EYE, RNG(3))
    assert found is not None
    assert found.planes.shape == (3, 32, 32)
    assert found.targets.shape == (4, 4)
    plain = (found.planes * 0.25 + 0.5) * 255
    for y, x in torch.nonzero(found.targets == 1).tolist():
        assert plain[:, 8 * y + 4, 8 * x + 4].tolist() == pytest.approx([255, 0, 0], abs=1)
    assert window(LabelledImage(scene().image, None), EYE, RNG(0)) is None


def draws(samples: tuple[ImageSample, ...], **values: object) -> Draws:
    swapper = Swapper([f"a {c} square" for c in tinyclip.COLOURS])
    return Draws(samples, EYE, tinyclip.recipe(**values), dense=True, swapper=swapper)


def test_batches_depend_on_seed_and_step_alone() -> None:
    samples = tinyclip.dataset(masks=True).images
    one, two = draws(samples), draws(samples)
    two.batch(0)
    a, b, other = one.batch(5), two.batch(5), one.batch(6)
    assert torch.equal(a.images, b.images)
    assert (a.texts, a.swaps) == (b.texts, b.swaps)
    assert not torch.equal(a.images, other.images)
    assert len(a.windows) == 8
    assert bool((a.relation == 1).any(1).all())


def test_a_swap_that_is_true_is_never_a_negative() -> None:
    samples = tinyclip.dataset().images
    for step in range(4):
        batch = draws(samples, hard_negatives=3, batch=16).batch(step)
        assert not set(batch.swaps) & set(batch.texts)
        assert batch.against.shape == (16, len(batch.swaps))
        colours = [{t.split()[1] for t in batch.texts} - {s.split()[1]} for s in batch.swaps]
        assert all(colours)


def test_a_bad_sample_is_skipped_and_many_end_the_training() -> None:
    def bad() -> LabelledImage:
        raise ValueError("gone")

    good = tinyclip.dataset().images
    said: list[str] = []
    some = draws((*good, ImageSample("bad", bad)), batch=49)
    some._say = said.append
    assert len(some.batch(0).images) == 49
    assert said == ["bad is left out: gone"]
    assert some.failed == 1
    many = draws((*good[:20], *(ImageSample(f"bad{n}", bad) for n in range(20))), batch=40)
    with pytest.raises(MaskcastError, match="could not be read, the last is bad"):
        many.batch(0)
