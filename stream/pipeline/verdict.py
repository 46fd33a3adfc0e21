"""How a run ended: what went wrong, which stages were lost with it, and the exit status."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stream.errors import StageError, exit_status_of
from stream.pipeline.account import Account
from stream.pipeline.children import how_it_ended
from stream.report import Report
from stream.transport.headers import Failed

INTERRUPTED = 130


class Verdict:
    """Gathers what goes wrong; the first that does decides the exit status.

    Attributes:
        exit: The exit status so far.
        failed: Stages that said what they failed of.
        lost: Stages that ended, or were killed, without their last word.
    """

    def __init__(self) -> None:
        self.exit = 0
        self.failed: set[str] = set()
        self.lost: list[str] = []
        self._errors: list[str] = []
        self._dead: tuple[str, str] | None = None

    def interrupted(self) -> None:
        """A person ended the run."""
        self.exit = self.exit or INTERRUPTED

    def error(self, text: str, status: int) -> None:
        """Something is to be said at the end."""
        if text not in self._errors:  # two stages may lack the same file
            self._errors.append(text)
        self.exit = self.exit or status

    def fails(self, header: Failed, log: Path) -> None:
        """A stage said what it failed of; where nobody expected that, `log` has the rest."""
        self.failed.add(header.stage)
        text = header.text
        if header.kind == "Unexpected":
            text = (
                f"stage {header.stage} failed with {header.text}; this is a defect of maskcast: "
                f"please report it with {log}"
            )
        self.error(text, exit_status_of(header.kind))

    def dies(self, stage: str, status: int, *, expected: bool) -> None:
        """A stage ended without its last word."""
        if self._dead is None and not self.failed and not expected:
            self._dead = (stage, how_it_ended(status))
            self.exit = self.exit or StageError.exit_status
        self.lost.append(stage)

    def report(self, account: Account, others: Iterable[str], seconds: float) -> Report:
        """Return the run's report.

        Args:
            account: What the stages told.
            others: Further errors, said last.
            seconds: How long it took.
        """
        if self._dead is not None:
            stage, how = self._dead
            self._errors.insert(0, f"stage {stage} died ({how}); {_kept(account)}")
        report = account.report(lost_a_stage=bool(self.lost or self.failed))
        report.errors = [*self._errors, *report.errors, *others]
        report.exit = self.exit
        report.seconds = round(seconds, 3)
        return report


def _kept(account: Account) -> str:
    """Say what of the results is safe."""
    count, last = account.published, account.last_frame
    text = f"{count} {'frame was' if count == 1 else 'frames were'} published"
    if "recorder" not in account.sinks or last is None:
        return text
    if "publisher" in account.done:
        return f"{text}, the recording is complete to frame {last}"
    return f"{text}, the recording can be read to frame {last} at least"
