"""Frames through whole pipelines: nothing lost silently, every frame accounted for."""

import pytest

from stream.pipeline import Observer


def balanced(report):
    return report.frames["read"] == report.frames["tracked"] + sum(report.dropped.values())


@pytest.mark.parametrize("kind", ["inproc", "ipc", "tcp"])
def test_a_file_gives_the_same_result_whatever_joins_the_stages(run_fake, kind):
    from fakes import position

    report, lines, closed = run_fake("fake://squares?frames=60", kind)
    assert report.errors == []
    assert report.exit == 0
    assert closed
    assert [line["frame"] for line in lines] == list(range(60))
    assert all(line["right"] for line in lines)
    for line in lines:
        top, left = position(line["frame"])
        assert line["boxes"] == [[left, top, left + 10, top + 10]]
        assert line["areas"] == [100]
    assert report.frames == {"read": 60, "tracked": 60, "published": 60}
    assert report.dropped == {}
    assert report.detection["events"] >= 1
    assert report.objects == {"now": 1, "ever": 1}
    assert report.source["policy"] == "every"
    assert report.source["true_objects_ever"] == 1


def test_every_loses_nothing_when_everything_behind_is_slow(run_fake):
    report, lines, _ = run_fake(
        "fake://squares?frames=40",
        step_s=0.004,
        sink_s=0.006,
        config={"transport": {"kind": "inproc", "ring_slots": 4}},
    )
    assert [line["frame"] for line in lines] == list(range(40))
    assert report.dropped == {}


def test_latest_counts_exactly_what_it_passed_over(run_fake):
    report, lines, _ = run_fake("fake://squares?live=1&fps=200&frames=60", step_s=0.02)
    frames = [line["frame"] for line in lines]
    assert report.frames["read"] == 60
    assert report.dropped == {"overrun": 60 - report.frames["tracked"]}
    assert 5 < report.frames["tracked"] < 40
    assert frames == sorted(frames)
    assert frames[-1] == 59
    assert report.frames["published"] == len(frames) == report.frames["tracked"]
    # Each frame carries what had been passed over before it: exactly the indices that lack.
    for place, line in enumerate(lines):
        assert line["dropped"].get("overrun", 0) == line["frame"] - place


def test_a_live_source_that_is_kept_up_with_loses_nothing(run_fake):
    report, _, _ = run_fake("fake://squares?live=1&fps=50&frames=25")
    assert report.frames == {"read": 25, "tracked": 25, "published": 25}
    assert report.source["policy"] == "latest"


def test_events_keep_their_place(run_fake):
    class Notes(Observer):
        def __init__(self):
            self.notes = []

        def note(self, stage, text):
            self.notes.append((stage, text))

    notes = Notes()
    run_fake("fake://squares?frames=10&gap=4", observer=notes)
    assert notes.notes == [("reader", "gap: 0.5 s without frames")]


def test_an_empty_stream_ends_in_order(run_fake):
    report, lines, closed = run_fake("fake://squares?frames=0")
    assert (report.exit, report.errors, lines, closed) == (0, [], [], True)
    assert report.frames == {"read": 0, "tracked": 0, "published": 0}
    assert report.latency_ms["p50"] is None


def test_frames_limit_is_exact(run_fake):
    report, _, _ = run_fake("fake://squares", config={"frames": 17})
    assert report.frames == {"read": 17, "tracked": 17, "published": 17}
    assert report.exit == 0


def test_seconds_count_from_the_first_frame(run_fake):
    report, _, _ = run_fake("fake://squares?live=1&fps=50", config={"seconds": 0.5})
    assert report.exit == 0
    assert 15 <= report.frames["read"] <= 27
    assert balanced(report)


def test_seconds_end_a_source_that_gives_nothing_more(run_fake):
    report, lines, closed = run_fake("fake://squares?hang=5", config={"seconds": 0.3})
    assert report.exit == 0
    assert [line["frame"] for line in lines] == list(range(5))
    assert closed
    assert report.seconds < 3.0


def test_a_slow_step_may_finish_and_what_waits_is_counted_as_shutdown(run_fake):
    report, lines, closed = run_fake("fake://squares", step_s=0.8, config={"seconds": 0.2})
    assert report.exit == 0
    assert report.errors == []
    assert closed
    assert report.dropped["shutdown"] >= 1
    assert report.frames["published"] == len(lines) == report.frames["tracked"]
    assert balanced(report)
    assert "unaccounted" not in report.dropped


def test_figures_are_filled_in(run_fake):
    report, _, _ = run_fake("fake://squares?live=1&fps=50&frames=30", step_s=0.002)
    assert 2.0 < report.latency_ms["p50"] <= report.latency_ms["p99"] <= report.latency_ms["max"]
    assert report.age_ms["p50"] >= report.latency_ms["p50"] / 2
    steps = {"read", "picked", "sent", "taken", "tracked", "passed", "received", "published"}
    assert set(report.stages) == steps | {"detect"}
    assert report.stages["tracked"]["p50"] >= 2.0
    assert report.rss_mb["max"] >= report.rss_mb["first"] > 0
    assert len(report.config) == 64


def test_the_observer_sees_the_run(run_fake):
    class Watcher(Observer):
        def __init__(self):
            self.states, self.first, self.frames = [], None, 0

        def started(self, now):
            self.first = now

        def update(self, now):
            self.states.append(now.state)
            self.frames = max(self.frames, now.published)

    seen = Watcher()
    run_fake("fake://squares?live=1&fps=60", observer=seen, config={"seconds": 1.0})
    assert seen.first.source["name"] == "squares"
    assert "folder" in seen.first.sinks["recorder"]
    assert seen.states[0] == "starting"
    assert "running" in seen.states
    assert seen.frames > 20
