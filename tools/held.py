"""What an object holds: tensors and arrays that can be reached from it, counted exactly."""

from __future__ import annotations

import gc
import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

MIB = 2**20


@dataclass(frozen=True)
class Held:
    """Tensors and arrays that can be reached from an object."""

    tensors: int
    mib: float


def held(root: Any) -> Held:
    """Count what can be reached from an object, each storage once, modules and classes left out."""
    seen: set[int] = set()
    storages: dict[int, int] = {}
    tensors = 0
    todo = [root]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, (type, types.ModuleType, str, bytes)):
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            tensors += 1
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, np.ndarray) and item.base is None:
            tensors += 1
            storages[item.ctypes.data] = item.nbytes
        elif isinstance(item, types.FunctionType):
            # Its globals are a whole module.
            todo += [item.__closure__, item.__defaults__, item.__kwdefaults__]
            continue
        todo += gc.get_referents(item)
    return Held(tensors, round(sum(storages.values()) / MIB, 4))
