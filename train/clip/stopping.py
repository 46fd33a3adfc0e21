"""Which look at the held-out samples was the best, and when looking on is in vain."""

from __future__ import annotations

import math
from typing import Any


class EarlyStop:
    """Keeps the best recall.

    Args:
        patience: Ends after so many looks without a better one; 0 never does.

    Attributes:
        best: Highest recall so far.
        best_step: When it was seen first.
        waited: Looks since then.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self.best = -math.inf
        self.best_step = -1
        self.waited = 0

    def look(self, step: int, recall: float) -> bool:
        """Take a look's recall; returns whether it is better than all before. NaN never is."""
        if recall > self.best:
            self.best, self.best_step, self.waited = recall, step, 0
            return True
        self.waited += 1
        return False

    @property
    def over(self) -> bool:
        """Whether training should end."""
        return 0 < self._patience <= self.waited

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.best, self.best_step = float(state["best"]), int(state["best_step"])
        self.waited = int(state["waited"])
