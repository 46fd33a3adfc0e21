"""Tracks that ended, kept for a while so that an object that returns gets its id back.

An object is recognised by the mean CLIP embedding of its detections. Where many things look alike
an embedding says nothing about which is which; then nobody is recognised.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from stream.config import LifecycleConfig
from stream.lifecycle.matching import Matrix
from stream.lifecycle.track import Embedding, Track


def mean_embedding(
    mean: Embedding | None, new: Embedding | None, count: int, rules: LifecycleConfig
) -> Embedding | None:
    """Return the running mean with one more embedding.

    Args:
        mean: (D,) unit length; None before the first.
        new: (D,) unit length; None changes nothing.
        count: Embeddings in the mean so far.
        rules: `embedding_rate`, the least weight of a new one.

    Returns:
        (D,) unit length, or None.
    """
    if mean is None or new is None or mean.shape != new.shape:
        return mean if new is None else new
    weight = max(1 / (count + 1), rules.embedding_rate)
    out = (1 - weight) * mean + weight * new
    length = float(np.linalg.norm(out))
    return (out / length).astype(np.float32) if length > 0 else mean


def cosines(new: Sequence[Embedding | None], known: Sequence[Embedding | None]) -> Matrix:
    """Return the cosine of each pair of unit vectors, (N, M) float32; -1 where one is missing."""
    out = np.full((len(new), len(known)), -1.0, dtype=np.float32)
    for row, a in enumerate(new):
        for col, b in enumerate(known):
            if a is not None and b is not None and a.shape == b.shape:
                out[row, col] = float(a @ b)
    return out


def recognise(like: Matrix, rivals: Matrix, rules: LifecycleConfig) -> list[tuple[int, int]]:
    """Tell which new detections are objects that were seen before.

    Args:
        like: (detections, candidates), cosine; -1 where labels differ.
        rivals: (detections, tracks in sight), cosine: what the detection cannot be, and still
            looks like.
        rules: `recognise_cosine`, and `recognise_margin` that a pair must be ahead of any other
            pair that either of the two could make.

    Returns:
        (detection, candidate) pairs, each at most once.
    """
    pairs = []
    for row, col in np.argwhere(like >= rules.recognise_cosine).tolist():
        others = [np.delete(like[row], col), np.delete(like[:, col], row), rivals[row]]
        second = max(float(values.max(initial=-1.0)) for values in others)
        ahead = float(like[row, col]) - second
        if like[row, col] > 0 and ahead > 0 and ahead >= rules.recognise_margin:
            pairs.append((row, col))
    return pairs


class Gallery:
    """The last confirmed tracks that ended.

    Args:
        rules: `gallery_size` and `recognise_within_s`.
    """

    def __init__(self, rules: LifecycleConfig) -> None:
        self._rules = rules
        self._left: OrderedDict[int, tuple[Track, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def add(self, track: Track, now_s: float) -> None:
        """Keep a track that ended; the one that ended first goes.

        Args:
            track: Kept only if it was confirmed and has an embedding.
            now_s: Stream time in seconds.
        """
        if not track.confirmed or track.embedding is None:
            return
        left_s = now_s if track.empty_since_s is None else track.empty_since_s
        self._left[track.id] = (track, left_s)
        self._left.move_to_end(track.id)
        while len(self._left) > self._rules.gallery_size:
            self._left.popitem(last=False)

    def tracks(self, now_s: float) -> list[Track]:
        """Return the tracks that may still come back, and forget the others.

        Args:
            now_s: Stream time in seconds; a clock that went back is no reason to keep any.
        """
        limit_s = self._rules.recognise_within_s
        late = [i for i, (_, left_s) in self._left.items() if abs(now_s - left_s) > limit_s]
        for track_id in late:
            del self._left[track_id]
        return [track for track, _ in self._left.values()]

    def take(self, track_id: int) -> Track:
        """Return a track that came back, and keep it no more."""
        return self._left.pop(track_id)[0]

    def clear(self) -> None:
        """Forget all."""
        self._left.clear()
