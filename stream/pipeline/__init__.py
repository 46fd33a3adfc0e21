"""A run from its configuration to its report."""

from __future__ import annotations

from stream.config import Config
from stream.errors import MaskcastError
from stream.logs import RunLog, redact
from stream.pipeline.account import Snapshot
from stream.pipeline.observer import Observer
from stream.pipeline.supervisor import Supervisor
from stream.pipeline.verdict import INTERRUPTED
from stream.report import Report, digest

__all__ = ["INTERRUPTED", "PARTS", "Observer", "Snapshot", "run"]

PARTS = "stream.stages.parts:PARTS"


def run(
    config: Config,
    observer: Observer | None = None,
    *,
    parts: str = PARTS,
    log: RunLog | None = None,
) -> Report:
    """Run a pipeline to its end. Call it from the main thread, so that Ctrl-C ends it in order.

    Args:
        config: The complete run.
        observer: Hears about the run while it goes.
        parts: `module:attribute` of what the stages carry (`stream.stages.base.Parts`).
        log: Where what libraries print, and tracebacks, go.

    Returns:
        The report; its `exit` and `errors` say how the run ended.
    """
    log = log or RunLog()
    try:
        report = Supervisor(config, parts, observer or Observer(), log).run()
    except MaskcastError as error:
        report = Report(errors=[redact(str(error))], exit=error.exit_status)
    plain = config.model_dump(mode="json")
    plain["source"]["uri"] = redact(plain["source"]["uri"])
    report.config = digest(plain)
    log.close(keep=report.exit not in (0, 2, INTERRUPTED))
    return report
