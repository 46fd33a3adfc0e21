"""Drawn attribute sets are what their captions and labels say, and the reader takes them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import make_attribute_set as maker

from train.readers import open_dataset, require_sound


def test_an_object_has_its_size_and_colour() -> None:
    for seed, item in enumerate(maker.every_item()):
        drawn = maker.draw_picture(np.random.default_rng(seed), 64, [item])
        inside = drawn.ids == 1
        radius = np.sqrt(inside.sum() / np.pi) / 64
        low, high = maker.SIZES[item.size][1]
        assert low - 0.02 < radius < high + 0.02
        colour = drawn.image[inside].mean(0)
        near = min(maker.COLOURS, key=lambda c: np.abs(colour - maker.COLOURS[c][1]).sum())
        assert near == item.colour


def test_objects_stand_side_by_side_in_the_order_of_the_caption(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shown = maker.pictures(1, 3, 2, rng)
    maker.write_set(tmp_path, shown, 96, 0)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.format == "captions"
    assert len(dataset.images) == 2
    image = dataset.images[0].load()
    assert image.ids is not None
    columns = [np.flatnonzero((image.ids == n).any(0)).mean() for n in (1, 2, 3)]
    assert columns == sorted(columns)
    assert image.labels == {n: item.label for n, item in enumerate(shown[0], 1)}
    english = " and ".join(item.english for item in shown[0])
    assert english in image.captions
    assert any("和" in caption and "圆盘" in caption for caption in image.captions)


@pytest.mark.parametrize(
    ("options", "part"), [(["--side", "8"], "--side 8"), (["--objects", "9"], "--objects 9")]
)
def test_bad_options_end_with_status_2(
    options: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        maker.main(["--out", str(tmp_path / "new"), *options])
    assert end.value.code == 2
    assert part in capsys.readouterr().err
