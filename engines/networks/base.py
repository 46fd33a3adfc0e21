"""What every network says of itself: its name, its tensors, and which of their sides may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Dtype = Literal["float32", "int64"]
#: The axis of objects, along which a call may be split.
OBJECTS = "B"
#: An axis that is 1 where all objects share a tensor, and B where each has its own.
SHARED = "R"


@dataclass(frozen=True, slots=True)
class Port:
    """One tensor that goes in or comes out."""

    name: str
    shape: tuple[int | str, ...]
    """A number is fixed; a name is an axis that may be of any length, the same in all ports."""
    dtype: Dtype = "float32"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch has it."""
        return {"float32": torch.float32, "int64": torch.int64}[self.dtype]

    @property
    def free(self) -> dict[int, str]:
        """The axes that may be of any length, by their place."""
        return {place: side for place, side in enumerate(self.shape) if isinstance(side, str)}


@dataclass(frozen=True, slots=True)
class Signature:
    """All tensors of a network."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def check(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
        """Check inputs and return the length of each free axis.

        Raises:
            ValueError: A tensor is missing, of another dtype or of another shape.
        """
        sizes: dict[str, int] = {}
        for port in self.inputs:
            tensor = tensors.get(port.name)
            if tensor is None:
                raise ValueError(f"input {port.name!r} is missing; needed are {self.names}")
            if tensor.dtype != port.torch_dtype or tensor.ndim != len(port.shape):
                raise ValueError(
                    f"input {port.name!r} is {tensor.dtype} {tuple(tensor.shape)}; "
                    f"accepted is {port.dtype} {port.shape}"
                )
            for side, length in zip(port.shape, tensor.shape, strict=True):
                if sizes.setdefault(str(side), length if isinstance(side, str) else side) != length:
                    raise ValueError(
                        f"input {port.name!r} is {tuple(tensor.shape)}; accepted is {port.shape} "
                        f"with {side} = {sizes[str(side)]}"
                    )
        return {side: length for side, length in sizes.items() if not side.isdigit()}

    @property
    def names(self) -> list[str]:
        """Names of the inputs, in order."""
        return [port.name for port in self.inputs]


class Network(nn.Module):
    """A module with a name and a signature; inputs and outputs are float32 whatever is inside."""

    name: str
    signature: Signature
    fuses: bool = False
    """Whether an engine's fused attention was found right in half precision (docs/export.md)."""

    def example(self, sizes: Mapping[str, int], seed: int = 0) -> dict[str, torch.Tensor]:
        """Return inputs of a shape, for tracing: noise, and zeros for indices.

        Args:
            sizes: Length of each free axis.
            seed: Of the noise.
        """
        noise = torch.Generator().manual_seed(seed)
        out = {}
        for port in self.signature.inputs:
            shape = [sizes[side] if isinstance(side, str) else side for side in port.shape]
            if port.dtype == "int64":
                out[port.name] = torch.zeros(shape, dtype=torch.int64)
            else:
                out[port.name] = torch.randn(shape, generator=noise)
        return out
