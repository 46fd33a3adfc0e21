"""Films for the measures: label maps drawn by hand, and the objects that a tracker would give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

SIZE = (10, 60)


def place(number: int) -> np.ndarray:
    """A 6 x 6 square: the n-th of six that do not touch."""
    mask = np.zeros(SIZE, bool)
    mask[2:8, number * 10 + 2 : number * 10 + 8] = True
    return mask


def drawn(places: Mapping[int, int]) -> np.ndarray:
    """Ids of squares by place."""
    ids = np.zeros(SIZE, np.uint16)
    for object_id, number in places.items():
        ids[place(number)] = object_id
    return ids


def crowded_film(frames: int = 12) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """True and found ids of a film with drift, misses, inventions, a swap, a split and a merger."""
    for t in range(frames):
        truth, found = np.zeros((60, 90), np.uint16), np.zeros((60, 90), np.uint16)
        for k in range(5):
            y, x = 4 + 10 * k, 3 + 2 * t + 9 * (k % 3)
            if (k, t) not in {(1, 4), (3, 0), (3, 1)}:
                truth[y : y + 8, x : x + 8] = 10 + k
            if (t + 2 * k) % 5 == 0:
                continue
            name = {1: 2, 2: 1}.get(k, k) if t >= 6 else k
            if k == 4 and t % 2:
                found[y : y + 8, x : x + 5] = 30
                found[y : y + 8, x + 5 : x + 8] = 31
                continue
            shift = (k + t) % 4
            found[y : y + 8, x + shift : x + 8 + shift] = 20 + name
        if t % 3 == 0:
            found[54:59, 80:88] = 40 + t
        yield truth, found
