"""The image features of one frame: encoded once, used by every object and by the detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engines.continuity import check_finite
from engines.device_clock import Mark
from engines.transfer import download, on_device


@dataclass(slots=True)
class Features:
    """What the SAM2 image encoder gives for one frame.

    `S` is the image size over 16: 16 at 256 px, 64 at 1024 px.
    """

    top: torch.Tensor
    """(1, C, S, S): the level that memory attention works on."""
    half: torch.Tensor
    """(1, C/4, 2S, 2S): stride 8, already projected for the mask decoder."""
    quarter: torch.Tensor
    """(1, C/8, 4S, 4S): stride 4, already projected for the mask decoder."""
    frame_size: tuple[int, int]
    """(H, W) in pixels of the frame they were made from."""
    checked: bool = False
    """Whether the numbers are known to be finite."""
    finite: torch.Tensor | None = None
    """() bool: the same where they are, for a host that does not wait (`continuity.is_finite`)."""
    ready: Mark | None = None
    """When they were made; None: with what the current stream was asked before."""
    made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was made of them once for all objects, by name; gone when the frame was stepped."""

    @property
    def high_res(self) -> list[torch.Tensor]:
        """The two fine levels in the order that the mask decoder takes them."""
        return [self.quarter, self.half]

    def check(self) -> None:
        """Check that all numbers are finite.

        Raises:
            ModelError: They are not.
        """
        if self.checked:
            return
        for name in ("top", "half", "quarter"):
            check_finite(f"the features ({name})", getattr(self, name))
        self.checked = True

    def accept(self, finite: npt.NDArray[np.bool_] | None) -> None:
        """Take what `finite` was found to be on the host, where it was asked for.

        Raises:
            NotFiniteError: It is false, and so it is.
        """
        if finite is None:
            return
        if finite:
            self.checked = True
        else:
            self.check()

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Return all that lies on the device."""
        levels = (self.top, self.half, self.quarter)
        return levels if self.finite is None else (*levels, self.finite)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return float16 arrays for another process; `from_arrays` is the way back.

        Raises:
            ModelError: The numbers are not finite.
        """
        self.check()
        return download(
            {name: getattr(self, name).to(torch.float16) for name in ("top", "half", "quarter")}
        )

    @classmethod
    def from_arrays(
        cls,
        arrays: dict[str, npt.NDArray[Any]],
        frame_size: tuple[int, int],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> Features:
        """Rebuild features that `to_arrays` gave.

        Args:
            arrays: `top`, `half` and `quarter`.
            frame_size: (H, W) of the frame in pixels.
            device: Where the tensors shall lie.
            dtype: Their dtype.
        """
        level = {
            name: on_device(np.array(arrays[name]), device).to(dtype)
            for name in ("top", "half", "quarter")
        }
        return cls(level["top"], level["half"], level["quarter"], frame_size)

    def __repr__(self) -> str:
        return f"Features(top={tuple(self.top.shape)}, {self.top.dtype}, frame={self.frame_size})"
