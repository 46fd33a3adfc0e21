"""What a run tells while it goes: to a terminal, to lines, to nobody."""

from __future__ import annotations

from stream.pipeline.account import Snapshot


class Observer:
    """Hears about the run; this one keeps silent. Override what is wanted."""

    def started(self, now: Snapshot) -> None:
        """All stages are ready; frames begin to flow."""

    def update(self, now: Snapshot) -> None:
        """The run as it is now, several times a second."""

    def note(self, stage: str, text: str) -> None:
        """A line of a stage that people should see."""

    def output(self, stage: str, line: str) -> None:
        """A line that a library in a stage printed; called from another thread."""
