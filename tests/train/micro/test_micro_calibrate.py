from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.calibration import read_calibration
from engines.detector import calibrate
from train.micro.calibrate import _best_iou, fit_films


def films(count: int, slope: float, offset: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    made = []
    for _ in range(count):
        raw = torch.rand(500, generator=generator) * 0.98 + 0.01
        chance = torch.sigmoid(slope * torch.logit(raw) + offset)
        made.append((raw, torch.rand(500, generator=generator) < chance))
    return made


def test_films_are_fitted_together_and_judged_on_the_other_half(tmp_path: Path) -> None:
    found = fit_films(films(8, 3.0, -1.0))
    assert found.slope == pytest.approx(3.0, abs=0.4)
    assert found.offset == pytest.approx(-1.0, abs=0.3)
    assert (found.detections, found.sam2, found.clip) == (4000, "micro", "micro")
    assert found.ece_after < 0.04 < 0.1 < found.ece_before
    found.write(tmp_path / "c.json")
    assert read_calibration(tmp_path / "c.json") == found


def test_halves_that_disagree_show_in_the_error() -> None:
    """A fit that is judged by its own films would look well here."""
    found = fit_films([*films(4, 3.0, -3.0), *films(4, 3.0, 3.0)])
    assert found.ece_after > 0.2


def test_one_film_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="1 films; a fit and its judgement need two or more"):
        fit_films(films(1, 3.0, -1.0))


def test_no_calibration_changes_nothing() -> None:
    raw = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(calibrate(raw, (1.0, 0.0)), raw)


def test_best_iou_brings_the_truth_to_the_mask() -> None:
    ids = np.zeros((40, 80), np.uint16)
    ids[10:20, 20:40] = 7
    mask = np.zeros((20, 20), bool)
    mask[5:10, 5:10] = True
    assert _best_iou(mask, ids) == pytest.approx(1.0)
    assert _best_iou(~mask, ids) == 0.0
