from __future__ import annotations

import math

import pytest
import torch

from engines.detector import calibrate
from train.platt import brier, calibration_error, fit, reliability


def made(slope: float, offset: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    raw = torch.rand(count, generator=generator) * 0.98 + 0.01
    chance = torch.sigmoid(slope * torch.logit(raw) + offset)
    return raw, torch.rand(count, generator=generator) < chance


@pytest.mark.parametrize(("true_slope", "true_offset"), [(3.0, -1.0), (0.5, 0.8)])
def test_the_fit_finds_the_curve_that_made_the_data(true_slope: float, true_offset: float) -> None:
    raw, right = made(true_slope, true_offset)
    slope, offset = fit(raw, right)
    assert slope == pytest.approx(true_slope, abs=0.4)
    assert offset == pytest.approx(true_offset, abs=0.3)
    sure = calibrate(raw, (slope, offset))
    assert sure.mean() == pytest.approx(float(right.float().mean()), abs=0.02)
    assert calibration_error(sure, right) < 0.03 < 0.1 < calibration_error(raw, right)
    assert brier(sure, right) < brier(raw, right)


def test_one_sided_data_is_refused() -> None:
    with pytest.raises(ValueError, match="2 of 2 detections are right; some of both are needed"):
        fit(torch.tensor([0.5, 0.6]), torch.tensor([True, True]))


def test_bins_hold_what_lies_in_them() -> None:
    scores = torch.tensor([0.0, 0.05, 0.95, 1.0, 0.55])
    right = torch.tensor([False, True, True, True, False])
    bins = reliability(scores, right)
    assert [part.count for part in bins] == [2, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert (bins[0].share_right, bins[9].share_right) == (0.5, 1.0)
    assert bins[0].mean_score == pytest.approx(0.025)
    assert math.isnan(bins[1].share_right)
    # By hand: (2 x 0.475 + 1 x 0.55 + 2 x 0.025) / 5
    assert calibration_error(scores, right) == pytest.approx(0.31)
    assert brier(scores, right) == pytest.approx(
        (0.0 + 0.95**2 + 0.05**2 + 0.0 + 0.55**2) / 5, abs=1e-6
    )


def test_nothing_has_no_error() -> None:
    none = torch.zeros(0)
    assert calibration_error(none, none.bool()) == 0.0
    assert brier(none, none.bool()) == 0.0
