"""What is kept of one track, and what a detection event asks of the tracker."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream.config import MOST_CONFIRM_EVENTS, LifecycleConfig
from stream.frame import BoolMask, State

Embedding = npt.NDArray[np.float32]


@dataclass(slots=True)
class Track:
    """The books of one track."""

    id: int
    label: str
    score: float
    confirmed: bool = False
    supports: deque[bool] = field(default_factory=lambda: deque(maxlen=MOST_CONFIRM_EVENTS))
    unsupported: int = 0
    """Visible detection events in a row without support."""
    object_probability: float = 1.0
    empty_since_s: float | None = None
    """Stream time since which nothing of it is visible."""
    evidence: dict[str, float] = field(default_factory=dict)
    """How sure each label is, for all that claimed it; see `stream.lifecycle.labels`."""
    embedding: Embedding | None = None
    """(D,) unit length: the running mean of its detections'."""
    embedded: int = 0
    """Detections in that mean."""
    supported: int = 0
    """Detections that supported it since one last corrected it."""
    shapes: deque[BoolMask] = field(default_factory=deque)
    """Masks of the last detections that supported it, where objects may divide."""
    parent: int | None = None
    """The track that ended when its object divided into this one and another."""
    beside: int | None = None
    """The track whose object this one may have split from, until it is sure."""
    by_hand: bool = False
    """Whether a person prompted it: then detections support and correct it, but never end, rename
    or displace it."""

    def state(self, now_s: float, rules: LifecycleConfig) -> State:
        """Return what the world is told about it."""
        if not self.confirmed:
            return "tentative"
        if self.empty_since_s is None:
            return "confirmed"
        gone_s = now_s - self.empty_since_s
        return "hidden" if gone_s < rules.remove_after_empty_s / 2 else "lost"


@dataclass(frozen=True, slots=True)
class Changes:
    """What a detection event asks of the tracker."""

    born: dict[int, int] = field(default_factory=dict)
    """Track id -> row of its detection; the id is new, or one of `recognised`."""
    reconditioned: dict[int, int] = field(default_factory=dict)
    """Track id -> row of the detection that corrects it."""
    restarted: dict[int, int] = field(default_factory=dict)
    """Track id -> row of the detection that it follows from now on, its memory forgotten."""
    removed: list[int] = field(default_factory=list)
    recognised: list[int] = field(default_factory=list)
    """Ids in `born` or `restarted` whose objects were out of sight and came back."""
