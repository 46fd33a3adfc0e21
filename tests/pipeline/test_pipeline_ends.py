"""However a run ends, everything ends within two seconds and the files are whole."""

import os
import signal
import time

import psutil
import pytest

from .conftest import END_S, SLACK_S

STAGES = ("reader", "tracker", "detector", "publisher")


def gone(pids, within_s=END_S + SLACK_S):
    deadline = time.monotonic() + within_s
    while left := [pid for pid in pids if psutil.pid_exists(pid) and running(pid)]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.02)
    return []


def running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def errors(lines):
    """Lines that are neither progress nor the summary."""
    known = ("starting", "source ", "running", "ending", "recording to")
    said = [line.removeprefix("maskcast: ") for line in lines]
    return [line for line in said if not line.startswith(known) and "frames read" not in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_in_order(command, around, number):
    run = command()
    run.wait_for_frames(10)
    pids = run.pids()
    assert set(pids) == set(STAGES)
    run.process.send_signal(number)
    status, lines, report = run.end()
    recorded, closed = run.lines()
    assert status == 130
    assert errors(lines) == []
    assert gone(pids.values()) == []
    assert closed
    assert report["exit"] == 130
    assert report["errors"] == []
    assert report["frames"]["read"] == report["frames"]["tracked"] + sum(report["dropped"].values())
    assert "unaccounted" not in report["dropped"]
    assert report["frames"]["published"] == len(recorded)
    assert list(around.iterdir()) == []


def test_ctrl_c_in_a_terminal_reaches_the_whole_group_and_still_ends_in_order(command):
    run = command()
    run.wait_for_frames(5)
    for pid in [*run.pids().values(), run.process.pid]:
        os.kill(pid, signal.SIGINT)
    status, lines, report = run.end()
    assert status == 130
    assert errors(lines) == []
    assert run.lines()[1]
    assert report["frames"]["published"] == len(run.lines()[0])


def test_ctrl_c_while_the_models_load_ends_at_once_without_complaint(command, around):
    run = command(prepare_s=30.0)
    run.wait_for_file(run.record)
    pids = run.pids()
    run.process.send_signal(signal.SIGINT)
    status, lines, report = run.end()
    assert status == 130
    assert errors(lines) == []
    assert report["frames"]["read"] == 0
    assert gone(pids.values()) == []
    assert list(around.iterdir()) == []


def test_a_signal_said_twice_at_once_is_one_wish(command):
    run = command()
    run.wait_for_frames(10)
    for _ in range(3):  # as `timeout` does: to the process, then to its group
        run.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    status, lines, report = run.end()
    recorded, closed = run.lines()
    assert status == 130
    assert errors(lines) == []
    assert closed
    assert report["frames"]["published"] == len(recorded)


def test_a_second_ctrl_c_does_not_wait(command, tmp_path):
    run = command(step_s=20.0, uri="fake://squares", mark=str(tmp_path / "mark"))
    run.wait_for_file(tmp_path / "mark")
    pids = run.pids()
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    run.process.send_signal(signal.SIGINT)
    start = time.monotonic()
    status, _, _ = run.end()
    assert status == 130
    assert time.monotonic() - start < 1.0
    assert gone(pids.values()) == []


def test_a_stage_that_does_not_end_in_time_is_killed_and_said(command, tmp_path):
    run = command(step_s=20.0, uri="fake://squares", mark=str(tmp_path / "mark"))
    run.wait_for_file(tmp_path / "mark")
    run.process.send_signal(signal.SIGINT)
    status, lines, report = run.end()
    assert status == 130
    assert errors(lines) == ["stage tracker did not end in time and was killed"]
    assert run.lines()[1]
    assert report["frames"]["read"] == sum(report["dropped"].values())


@pytest.mark.parametrize("stage", STAGES)
def test_the_death_of_a_stage_ends_everything_and_loses_nothing_written(command, around, stage):
    run = command()
    run.wait_for_frames(10)
    pids = run.pids()
    os.kill(pids[stage], signal.SIGKILL)
    status, lines, report = run.end()
    recorded, closed = run.lines()
    assert status == 1
    assert gone(pids.values()) == []
    assert list(around.iterdir()) == []
    last = recorded[-1]["frame"]
    assert [line["frame"] for line in recorded] == sorted({line["frame"] for line in recorded})
    (said,) = errors(lines)
    if stage == "publisher":
        assert not closed
        assert said.startswith("stage publisher died (killed by SIGKILL); ")
        assert "the recording can be read to frame" in said
    else:
        assert closed
        assert said == (
            f"stage {stage} died (killed by SIGKILL); {len(recorded)} frames were published, "
            f"the recording is complete to frame {last}"
        )
        assert report["frames"]["published"] == len(recorded)
    assert report["errors"] == [said]
    assert report["exit"] == 1
    assert report["frames"]["read"] == report["frames"]["tracked"] + sum(report["dropped"].values())
    assert "unaccounted" not in report["dropped"]


def test_when_the_supervisor_is_killed_the_stages_end_and_the_file_is_closed(command, around):
    run = command()
    run.wait_for_frames(10)
    pids = run.pids()
    run.process.kill()
    run.process.wait()
    assert gone(pids.values()) == []
    assert run.lines()[1]
    assert list(around.iterdir()) == []


@pytest.mark.slow
def test_five_starts_and_stops_leave_everything_as_before(run_fake, around):
    me = psutil.Process()

    def held():
        return me.num_fds(), me.num_threads(), len(me.children()), sorted(os.listdir("/dev/shm"))

    run_fake("fake://squares?frames=5", "ipc")
    before = held()
    for kind in ("ipc", "ipc", "tcp", "ipc", "inproc"):
        report, _, _ = run_fake("fake://squares?frames=5", kind)
        assert report.exit == 0
    assert held() == before
    assert list(around.iterdir()) == []


def test_a_detector_that_is_busy_at_the_end_is_no_failure(run_fake):
    """Nobody waits for its answer any more: it is killed, and the run did what it was asked."""
    report, lines, closed = run_fake("fake://squares?frames=20", "ipc", detect_s=6.0)
    assert (report.exit, report.errors) == (0, [])
    assert len(lines) == 20
    assert closed
    assert report.seconds < 6.0
