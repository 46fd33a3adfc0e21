from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.detector import calibrate
from train.calibrate_micro import _best_iou, fit


def test_the_fit_finds_the_curve_that_made_the_data() -> None:
    generator = torch.Generator().manual_seed(0)
    raw = torch.rand(4000, generator=generator) * 0.98 + 0.01
    chance = torch.sigmoid(3.0 * torch.logit(raw) - 1.0)
    right = torch.rand(4000, generator=generator) < chance
    slope, offset = fit(raw, right)
    assert slope == pytest.approx(3.0, abs=0.4)
    assert offset == pytest.approx(-1.0, abs=0.3)
    assert calibrate(raw, (slope, offset)).mean() == pytest.approx(
        float(right.float().mean()), abs=0.02
    )


def test_one_sided_data_is_refused() -> None:
    with pytest.raises(ValueError, match="2 of 2 detections are right; some of both are needed"):
        fit(torch.tensor([0.5, 0.6]), torch.tensor([True, True]))


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
