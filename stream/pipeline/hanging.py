"""Which stages have not been at work for too long, by their beats."""

from __future__ import annotations

from stream.pipeline.account import Account
from stream.worker import STAGES


class Hanging:
    """Notices stages that hang, and when one is back.

    Args:
        limit_s: `metrics.hung_after_s`: longer than a frame or a look takes.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._hung: set[str] = set()

    def look(self, account: Account, now_ns: int) -> list[tuple[str, str]]:
        """Return what is new: stages, and what is to be said of them."""
        news = []
        for stage in set(STAGES) - account.done:
            silent_s = account.silent_s(stage, now_ns)
            if (silent_s > self._limit_s) == (stage in self._hung):
                continue
            self._hung ^= {stage}
            text = "is at work again"
            if stage in self._hung:
                text = f"has not been at work for {silent_s:.0f} s (metrics.hung_after_s)"
            news.append((stage, text))
        return news

    def errors(self) -> list[str]:
        """Say which stages hung to the end."""
        return [
            f"stage {stage} hung: it had not been at work for {self._limit_s:g} s "
            "when the run ended"
            for stage in STAGES
            if stage in self._hung
        ]
