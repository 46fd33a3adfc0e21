"""An object's mask whose logits stay on a card; what people see of it came to the host as bits."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engines.bits import FrameBits, frame_bits, pack, unpack, want_frame_bits
from engines.heads import Decoded
from engines.objects import ObjectMask
from engines.transfer import Gather


class DeviceMask(ObjectMask):
    """One object in one frame.

    Args:
        low: (h, w) float32 logits on the device.
        packed: (h, ceil(w / 8)) uint8 the mask at their resolution.
        fine: The mask at the size of the frame.
        iou: See `ObjectMask`.
        object_score: See `ObjectMask`.
        pointer: See `ObjectMask`.
    """

    def __init__(
        self,
        low: torch.Tensor,
        packed: npt.NDArray[np.uint8],
        fine: FrameBits,
        iou: float,
        object_score: float,
        pointer: npt.NDArray[np.float32],
    ) -> None:
        given = {
            "_low": low, "_packed": packed, "_fine": fine,
            "iou": iou, "object_score": object_score, "pointer": pointer,
        }  # fmt: skip
        self.__dict__.update(given)

    @cached_property
    def logits(self) -> npt.NDArray[np.float32]:
        """(h, w) float32; fetched at the first time, which waits for the device."""
        fetched: npt.NDArray[np.float32] = self._low.cpu().numpy()
        return fetched

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """(h, w) bool at the resolution of the logits."""
        return unpack(self._packed, self._low.shape[1])

    def in_frame(
        self, size: tuple[int, int]
    ) -> tuple[npt.NDArray[np.bool_], tuple[int, int, int, int]]:
        """Return the mask at frame size in its tight box, and the box; see `ObjectMask`."""
        return self._fine.cut() if size == self._fine.size else super().in_frame(size)

    def __repr__(self) -> str:
        return f"DeviceMask(iou={self.iou:.3f}, object_score={self.object_score:.3f})"

    _low: torch.Tensor
    _packed: npt.NDArray[np.uint8]
    _fine: FrameBits


def want_masks(
    gather: Gather, out: Decoded, size: tuple[int, int], *, logits: bool = False
) -> None:
    """Let the results of B objects be brought to the host.

    Args:
        gather: What brings them there.
        out: The results.
        size: (H, W) of the frame in pixels.
        logits: Whether the host wants the logits themselves, not only the masks.
    """
    gather.add("numbers", torch.cat([out.ious[:, None], out.scores[:, None], out.pointers], 1))
    if logits:
        gather.add("logits", out.low)
        return
    gather.add("low_bits", pack(out.low > 0))
    want_frame_bits(gather, out.low, size)


def as_masks(found: dict[str, Any], out: Decoded, size: tuple[int, int]) -> list[ObjectMask]:
    """Return what `want_masks` wanted, an object each."""
    masks: list[ObjectMask] = []
    for row, (iou, score, *_) in enumerate(found["numbers"]):
        rest = float(iou), float(score), found["numbers"][row, 2:]
        if "logits" in found:
            masks.append(ObjectMask(found["logits"][row], *rest))
            continue
        fine = frame_bits(found["frame_bits"][row], size)
        masks.append(DeviceMask(out.low[row], found["low_bits"][row], fine, *rest))
    return masks
