"""Published masks with edges drawn again: nearer to the picture, ids and memories untouched."""

from __future__ import annotations

import numpy as np
import pytest

from stream.config import check
from stream.contracts import Question
from stream.core.track import TrackCore
from stream.errors import UsageError
from stream.frame import Frame, Masks
from tests.core.test_track import EchoTracker, SlowDetector, echo

__all__ = ["echo"]

SIZE = (480, 640)


def bright_disc() -> tuple[np.ndarray, np.ndarray]:
    """A picture, and the truth under the detector's mask in it, which is a square."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    true = (rows - 112) ** 2 + (columns - 150) ** 2 < 34**2
    image = np.where(true, 190, 35)[..., None] + np.zeros(3, np.uint8)
    noise = np.random.default_rng(0).integers(0, 16, image.shape)
    return (image + noise).astype(np.uint8), true


def run(refine: bool) -> tuple[Masks, np.ndarray]:
    config = check({"tracker": {"refine": refine}})
    core = TrackCore(config.tracker, config.detector, config.lifecycle, Question(("cell",)))
    core.prepare()
    core.live = False
    image, true = bright_disc()
    return core.step(Frame(0, image, 0.0, 0, stamps={"read": 1}), SlowDetector()), true


def iou(masks: Masks, true: np.ndarray) -> float:
    (found,) = masks.objects
    whole = np.zeros(SIZE, bool)
    x0, y0, x1, y1 = found.box
    whole[y0:y1, x0:x1] = found.mask
    assert found.area == whole.sum()
    return float((whole & true).sum() / (whole | true).sum())


def test_the_mask_is_nearer_to_the_picture(echo: EchoTracker) -> None:
    plain, true = run(refine=False)
    finer, _ = run(refine=True)
    assert iou(plain, true) < 0.85
    assert iou(finer, true) > 0.93
    assert finer.objects[0].id == plain.objects[0].id
    assert finer.objects[0].score == plain.objects[0].score


def test_what_the_tracker_remembers_stays_its_own(echo: EchoTracker) -> None:
    run(refine=True)
    (mask,) = echo.masks.values()
    assert mask.all(0).sum() == 0
    assert mask[10:20, 10:20].all()


def test_a_model_without_a_refiner_is_one_line(echo: EchoTracker) -> None:
    config = check({"tracker": {"refine": True, "model": "sam2.1-tiny"}})
    core = TrackCore(config.tracker, config.detector, config.lifecycle, Question(("cell",)))
    with pytest.raises(UsageError, match=r"refine: sam2.1-tiny has no network") as refused:
        core.prepare()
    assert "\n" not in str(refused.value)
