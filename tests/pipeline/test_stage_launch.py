"""What a stage's process is given, and what it is not."""

import pytest

from stream.config import check
from stream.pipeline.children import _environment, how_it_ended, threads_of
from stream.pipeline.launch import _orders
from stream.transport import Place, Ring
from stream.worker import STAGES

CONFIG = check(
    {
        "source": {"uri": "rtsp://user:secret@cam/live"},
        "tracker": {"threads": 3},
        "detector": {"threads": 2},
    }
)


def test_only_the_reader_gets_the_address_with_its_credentials():
    place = Place("ipc", "/x")
    for stage in STAGES:
        uri = _orders(CONFIG, stage, "parts:PARTS", place).config["source"]["uri"]
        assert uri == ("rtsp://user:secret@cam/live" if stage == "reader" else "")


def test_each_stage_gets_the_rings_that_it_uses():
    rings = {name: Ring.create(4, ("a",), 4096) for name in ("frames", "jobs")}
    given = {
        stage: (orders.frames_fd is not None, orders.jobs_fd is not None)
        for stage in STAGES
        if (orders := _orders(CONFIG, stage, "parts:PARTS", Place("ipc", "/x"), rings))
    }
    assert given == {
        "reader": (True, False),
        "tracker": (True, True),
        "detector": (False, True),
        "publisher": (True, False),
    }
    for ring in rings.values():
        ring.close()


def test_threads_follow_the_configuration():
    assert [threads_of(stage, CONFIG) for stage in STAGES] == [1, 3, 2, 1]
    assert _environment(3)["OMP_NUM_THREADS"] == _environment(3)["MKL_NUM_THREADS"] == "3"


def test_waiting_threads_sleep_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert _environment(1)["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert _environment(1)["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-9, "killed by SIGKILL"),
        (-99, "killed by signal 99"),
    ],
)
def test_ends_are_said_in_words(status, text):
    assert how_it_ended(status) == text


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 6)])
def test_the_tracker_leaves_the_detector_its_cores(cores, threads, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert (
        threads_of("tracker", check({"detector": {"threads": 2 if cores == 8 else 1}})) == threads
    )
