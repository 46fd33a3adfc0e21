"""What is said of a run at its end, and which stages are said to hang."""

from __future__ import annotations

from pathlib import Path

from stream.pipeline.account import Account
from stream.pipeline.hanging import Hanging
from stream.pipeline.verdict import INTERRUPTED, Verdict
from stream.transport.headers import Failed

LOG = Path("run.log")


def test_the_first_thing_that_goes_wrong_decides_the_exit_status() -> None:
    verdict = Verdict()
    verdict.fails(Failed("tracker", "UsageError", "no such model"), LOG)
    verdict.fails(Failed("detector", "UsageError", "no such model"), LOG)
    verdict.error("stage reader did not end in time and was killed", 1)
    verdict.interrupted()
    report = verdict.report(Account(), ["and it hung"], 1.23456)
    assert report.errors == [
        "no such model", "stage reader did not end in time and was killed", "and it hung",
    ]  # fmt: skip
    assert (report.exit, report.seconds) == (2, 1.235)


def test_a_death_is_said_first_with_what_is_safe() -> None:
    account, verdict = Account(), Verdict()
    account.sinks = {"recorder": {}}
    account.status("publisher", {"published": 3, "last_frame": 7})
    verdict.error("later", 1)
    verdict.dies("tracker", -9, expected=False)
    verdict.dies("reader", -9, expected=False)
    assert verdict.report(account, [], 0.0).errors[:2] == [
        "stage tracker died (killed by SIGKILL); 3 frames were published, the recording can be "
        "read to frame 7 at least",
        "later",
    ]
    assert verdict.lost == ["tracker", "reader"]


def test_a_stage_that_dies_of_an_interruption_is_no_error() -> None:
    verdict = Verdict()
    verdict.interrupted()
    verdict.dies("tracker", -2, expected=True)
    report = verdict.report(Account(), [], 0.0)
    assert (report.errors, report.exit) == ([], INTERRUPTED)


def test_a_stage_hangs_until_it_beats_again() -> None:
    account, hanging = Account(), Hanging(2.0)
    account.status("tracker", {}, beat_ns=0)
    assert hanging.look(account, 1_900_000_000) == []
    text = "has not been at work for 3 s (metrics.hung_after_s)"
    assert hanging.look(account, 3_000_000_000) == [("tracker", text)]
    assert hanging.look(account, 4_000_000_000) == []
    assert hanging.errors() == [
        "stage tracker hung: it had not been at work for 2 s when the run ended"
    ]
    account.status("tracker", {}, beat_ns=4_000_000_000)
    assert hanging.look(account, 4_500_000_000) == [("tracker", "is at work again")]
    assert hanging.errors() == []
