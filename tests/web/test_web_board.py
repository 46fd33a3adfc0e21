import dataclasses

import numpy as np
import pytest

from stream.contracts import RunInfo
from stream.frame import Masks, TrackedObject
from stream.web.board import BINS, ROWS, Board, Seen

MS = 1_000_000
S = 1_000_000_000


def disc(number: int, label: str = "cell", state: str = "confirmed") -> TrackedObject:
    return TrackedObject(number, label, 0.5, state, np.ones((2, 2), np.bool_), (0, 0, 2, 2), 4)  # type: ignore[arg-type]


def masks(index: int, captured_ns: int, *objects: TrackedObject, **dropped: int) -> Masks:
    return Masks(index, (10, 10), index / 10, captured_ns, objects, {}, dropped)


@pytest.fixture
def info():
    return RunInfo("main", "rtsp://camera/1", ["cell", "dust"], model="micro", fps=10, live=True)


def test_rates_latency_and_age(info):
    board = Board(info)
    for step in range(20):  # every second frame of a source at 20 fps, 30 ms late, one in ten 80
        late_ms = 80 if step % 10 == 9 else 30
        captured_ns = step * 100 * MS
        board.add(masks(2 * step, captured_ns, overrun=step), captured_ns + late_ms * MS)
    status = board.status(1950 * MS)
    assert status["fps_in"] == pytest.approx(20.0)
    assert status["fps_out"] == pytest.approx(9.7, abs=0.3)
    assert status["latency_ms"] == {"p50": 30.0, "p90": 35.0}
    assert status["age_ms"] == 50.0
    assert (status["frame"], status["dropped"]) == (38, {"overrun": 19})


def test_figures_are_of_the_last_seconds_only(info):
    board = Board(info)
    board.add(masks(0, 0), 500 * MS)
    board.add(masks(1, 10 * S), 10 * S + 20 * MS)
    assert board.status(10 * S + 30 * MS)["latency_ms"] == {"p50": 20.0, "p90": 20.0}
    late = board.status(60 * S)
    assert (late["latency_ms"], late["fps_in"], late["fps_out"]) == (None, None, None)
    assert late["age_ms"] == 50_000.0


def test_counts_objects_and_ages(info):
    board = Board(info)
    board.add(masks(0, 0, disc(1), disc(2, "dust"), disc(9, state="tentative")), 5 * MS)
    board.add(masks(1, 3 * S, disc(3), disc(1), disc(2, "dust", "hidden")), 3 * S + 5 * MS)
    summary = board.summary(3 * S + 6 * MS)
    assert summary["counts"] == {"cell": 2, "dust": 0}
    assert (summary["now"], summary["ever"], summary["more"]) == (2, 3, 0)
    assert [(row["id"], row["age_s"]) for row in summary["objects"]] == [(1, 3.0), (3, 0.0)]
    assert summary["objects"][0]["box"] == [0, 0, 2, 2]


def test_a_daughter_names_her_mother(info):
    board = Board(info)
    board.add(masks(0, 0, disc(1), dataclasses.replace(disc(2), parent=7)), 0)
    assert [row["parent"] for row in board.summary(0)["objects"]] == [None, 7]


def test_the_table_is_bounded(info):
    board = Board(info)
    board.add(masks(0, 0, *(disc(number) for number in range(ROWS + 7))), 0)
    summary = board.summary(0)
    assert (len(summary["objects"]), summary["more"], summary["now"]) == (ROWS, 7, ROWS + 7)


def test_states(info):
    board = Board(info)
    assert board.state(0) == "waiting"
    board.add(masks(0, 0), 0)
    assert board.state(1 * S) == "live"
    assert board.state(3 * S) == "stalled"
    info.extra["state"] = "reconnecting"
    assert board.state(3 * S) == "reconnecting"
    del info.extra["state"]
    info.live = False
    assert board.state(100 * S) == "playing"
    board.end()
    assert board.state(0) == "ended"


def test_a_slow_live_source_is_not_stalled(info):
    info.fps = 0.5
    board = Board(info)
    board.add(masks(0, 0), 0)
    assert board.state(9 * S) == "live"
    assert board.state(11 * S) == "stalled"


def test_history_has_gaps_and_is_bounded(info):
    board = Board(info)
    for time_ms, count in [(0, 2), (100, 4), (600, 1), (1700, 1), (2100, 0)]:
        discs = (disc(number) for number in range(count))
        board.add(masks(time_ms, time_ms * MS, *discs), (time_ms + 7) * MS)
    history = board.history()
    assert history["step_s"] == 0.5
    assert history["counts"] == {
        "cell": [3.0, 1.0, None, 1.0],
        "dust": [0.0, 0.0, None, 0.0],
    }
    assert history["latency_ms"] == [7.0, 7.0, None, 7.0]
    assert history["end"] == 3
    board.add(masks(99, 10_000 * S), 10_000 * S)
    board.add(masks(100, 10_001 * S), 10_001 * S)
    assert len(board.history()["latency_ms"]) == BINS
    assert board.history()["end"] == 20_001


def test_seen_counts_each_id_once_in_bounded_memory():
    seen = Seen(remembered=10)
    for number in range(1000):
        for again in (number, max(number - 2, 0), number):
            seen.add(again)
    assert seen.ever == 1000
    assert len(seen._ids) <= 10


def test_without_a_frame(info):
    status = Board(info).status(5)
    assert (status["frame"], status["age_ms"], status["ever"]) == (None, None, 0)
    assert status["texts"] == ["cell", "dust"]
    with pytest.raises(ValueError, match="there was no frame yet"):
        Board(info).summary(5)


def test_control_is_said_where_the_run_listens_and_the_page_may_ask(info):
    assert Board(info).status(0)["control"] is False
    info.control = "tcp://127.0.0.1:5561"
    assert Board(info).status(0)["control"] is True
    assert Board(info, control=False).status(0)["control"] is False
