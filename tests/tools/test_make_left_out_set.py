"""The drawn sets of objects that micro has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.tools import load
from train.readers import open_dataset, require_sound

tool = load("make_left_out_set")


@pytest.mark.parametrize("kind", ["worms", "gears", "cells"])
def test_a_set_is_sound_and_made_again_the_same(kind: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        line = [kind, str(tmp_path / name), "--train", "1", "--test", "2", "--side", "128"]
        assert tool.main(line) == 0
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.png"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    dataset = open_dataset(tmp_path / "one" / "test")
    require_sound(dataset)
    assert len(dataset.images) == 2
    for sample in dataset.images:
        ids = sample.load().ids
        assert ids is not None
        assert len(np.unique(ids)) > 2


def test_the_two_sides_differ_and_a_full_folder_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    line = ["gears", str(out), "--train", "1", "--test", "1", "--side", "64"]
    assert tool.main(line) == 0
    one, other = (
        np.array(Image.open(out / side / "images" / "gears_000.png")) for side in ("train", "test")
    )
    assert not np.array_equal(one, other)
    assert tool.main(line) == 2
    assert "is not empty" in capsys.readouterr().err
