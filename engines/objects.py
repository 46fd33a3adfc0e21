"""What says where an object is, and what comes back: the tracker's two plain types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engines.images import mask_in_frame


def _no_pointer() -> npt.NDArray[np.float32]:
    return np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class ObjectMask:
    """One object in one frame; `engines.device_mask` has one whose logits stay on a card."""

    logits: npt.NDArray[np.float32]
    """(h, w) at a quarter of the image size, covering the whole frame."""
    iou: float
    """Predicted IoU of the mask, in [0, 1]."""
    object_score: float
    """Logit; above 0 the object is taken to be visible."""
    pointer: npt.NDArray[np.float32] = field(default_factory=_no_pointer, repr=False)
    """(C,) what the memory of later frames knows the object by."""

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """(h, w) bool at the resolution of the logits."""
        return self.logits > 0

    def in_frame(
        self, size: tuple[int, int]
    ) -> tuple[npt.NDArray[np.bool_], tuple[int, int, int, int]]:
        """Return the mask at frame size in its tight box, and the box.

        Args:
            size: (H, W) of the frame in pixels.

        Returns:
            As `images.mask_in_frame`.
        """
        return mask_in_frame(self.logits, size)

    def with_logits(self, logits: npt.NDArray[np.float32]) -> ObjectMask:
        """Return the same result with another mask."""
        return ObjectMask(logits, self.iou, self.object_score, self.pointer)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What says where an object is, in frame pixels; a mask, or a box and points."""

    mask: npt.NDArray[np.bool_] | None = None
    """(h, w) at any resolution, covering the whole frame."""
    box: tuple[float, float, float, float] | None = None
    points: Sequence[tuple[float, float]] = ()
    labels: Sequence[int] = ()
    """1: on the object, 0: not on it; one for each point."""

    def __post_init__(self) -> None:
        if self.mask is not None and (self.box is not None or len(self.points)):
            raise ValueError("a mask excludes box and points: the mask is the answer already")
        if self.mask is None and self.box is None and not len(self.points):
            raise ValueError("nothing is prompted: give a mask, a box or points")
        if len(self.points) != len(self.labels):
            raise ValueError(f"{len(self.points)} points but {len(self.labels)} labels")
        if any(label not in (0, 1) for label in self.labels):
            raise ValueError(f"labels are {list(self.labels)}; accepted are 1 (object) and 0 (not)")
