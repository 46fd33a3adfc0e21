"""How much a frame differs from the one before it, and when that is a cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Signature = npt.NDArray[np.float32]

# Cells along each side of a frame.
CELLS = 8
# Distances lie at 0 for an unchanged frame and near 1 for an unrelated one. With `micro` and drawn
# films, 36 cuts from a film to another of its own kind lay at 0.39 and above, frames without a cut
# below 0.04, in films of 2 frames a second below 0.16, and an object that fills an eighth of the
# frame and appears from nowhere at 0.25.
LEAST_CUT = 0.27
TIMES_USUAL = 4.0
# The usual change is a running mean; a single cut shall not raise it much.
RATE = 0.2
MOST_LEARNT = 0.5
# A stream that begins may be a fast one, so its first frames are judged with caution.
USUAL_AT_START = 0.15


def describe(top: torch.Tensor) -> torch.Tensor:
    """Describe a frame by its features in a coarse grid, less what all cells have in common.

    What is common goes with the light, so that flicker leaves little behind.

    Args:
        top: (1, C, S, S) features.

    Returns:
        (cells, C) float32 where the features are, `CELLS` squared cells or, on a smaller grid, S
        squared.
    """
    cells = F.adaptive_avg_pool2d(top.float(), min(CELLS, top.shape[-1]))[0].flatten(1).T
    return cells - cells.mean(0)


def signature(top: torch.Tensor) -> Signature:
    """Return what `describe` says of features (1, C, S, S), on the host."""
    described: Signature = describe(top).cpu().numpy()
    return described


def distance(one: Signature, other: Signature) -> float:
    """Return the median over the cells of the cosine distance, in [0, 2].

    The median is blind to what fills less than half of the frame, such as an object that enters.

    Args:
        one: (cells, C), or (C,) for a single cell.
        other: As `one`.
    """
    one, other = np.atleast_2d(one), np.atleast_2d(other)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    # A cell without any contents is like every other: it says nothing for a cut.
    cosines = np.ones(len(one))
    np.divide((one * other).sum(1), lengths, out=cosines, where=lengths > 0)
    return float(np.median(1.0 - cosines))


class CutFinder:
    """Tells a change of scene from the usual change of a stream."""

    def __init__(self) -> None:
        self._last: Signature | None = None
        self._usual = USUAL_AT_START

    def __call__(self, described: Signature) -> tuple[float, float] | None:
        """Compare a frame with the last one.

        Args:
            described: The frame's signature.

        Returns:
            At a cut, the distance to the last frame and the distance that was allowed; else None.
        """
        last, self._last = self._last, described
        if last is None or last.shape != described.shape:
            return None
        away = distance(last, described)
        allowed = max(LEAST_CUT, TIMES_USUAL * self._usual)
        self._usual += RATE * (min(away, MOST_LEARNT) - self._usual)
        return (away, allowed) if away > allowed else None

    def restart(self) -> None:
        """Compare the next frame with none."""
        self._last = None

    def reset(self) -> None:
        """Forget the stream."""
        self._last = None
        self._usual = USUAL_AT_START
