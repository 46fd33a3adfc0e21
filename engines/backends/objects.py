"""One call for many objects becomes calls of few sizes, and results become one again.

A backend that compiles for shapes would compile anew for every number of objects. Powers of two are
enough: 13 objects are 8, 4 and 1, with no object computed in vain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from engines.networks.base import OBJECTS, SHARED, Port, Signature


def sizes_of(count: int, most: int) -> Iterator[int]:
    """Yield the sizes that so many objects are computed in, largest first.

    Args:
        count: Objects, at least 1.
        most: Most at once, a power of two.
    """
    while count:
        size = min(1 << (count.bit_length() - 1), most)
        yield size
        count -= size


def split(
    tensors: Mapping[str, torch.Tensor], signature: Signature, most: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the inputs of each call.

    Args:
        tensors: Inputs by name.
        signature: Their axes: only `OBJECTS` is cut, and `SHARED` where it is as long.
        most: Most objects at once, a power of two.
    """
    counts = [len(tensors[p.name]) for p in signature.inputs if p.shape[0] == OBJECTS]
    if not counts:
        yield dict(tensors)
        return
    first = 0
    for size in sizes_of(counts[0], most):
        rows = slice(first, first + size)
        yield {
            port.name: tensors[port.name][rows]
            if _is_cut(port, tensors[port.name], counts[0])
            else tensors[port.name]
            for port in signature.inputs
        }
        first += size


def _is_cut(port: Port, tensor: torch.Tensor, count: int) -> bool:
    return port.shape[0] == OBJECTS or (port.shape[0] == SHARED and len(tensor) == count > 1)


def join(parts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the outputs of all calls as those of one."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
