"""What fails is said in one line with the right status, and what was good is kept."""

import pytest

KINDS = ["inproc", "ipc"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_does_not_open_is_one_line_and_bad_usage(run_fake, kind):
    report, lines, _ = run_fake("fake://squares?fail=no such film", kind)
    assert report.errors == ["squares: no such film"]
    assert report.exit == 2
    assert lines == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_model_is_one_line_and_bad_usage(run_fake, kind):
    report, _, _ = run_fake("fake://squares", kind, fail="prepare")
    assert report.errors == ["model 'mikro' is not known; accepted are micro, sam2.1-tiny"]
    assert report.exit == 2


def test_a_defect_is_one_line_that_names_the_log_with_the_traceback(run_fake, tmp_path):
    report, _, _ = run_fake("fake://squares", fail="crash")
    (log,) = (tmp_path / "state" / "maskcast").iterdir()
    assert report.errors == [
        "stage tracker failed with RuntimeError: tensor has no shape; this is a defect of "
        f"maskcast: please report it with {log}"
    ]
    assert report.exit == 1
    assert "Traceback (most recent call last)" in log.read_text()


def test_a_defect_in_the_middle_keeps_what_was_published(run_fake):
    report, lines, closed = run_fake("fake://squares", fail="step12")
    assert [line["frame"] for line in lines] == list(range(12))
    assert closed
    assert report.exit == 1
    assert "division by zero" in report.errors[0]
    assert report.frames["tracked"] == report.frames["published"] == 12
    assert report.frames["read"] == 12 + sum(report.dropped.values())


def test_a_source_that_breaks_is_finished_in_order_first(run_fake):
    report, lines, closed = run_fake("fake://squares?break=30", step_s=0.002)
    assert [line["frame"] for line in lines] == list(range(30))
    assert closed
    assert report.errors == ["squares: damaged after frame 29"]
    assert report.exit == 1
    assert report.frames == {"read": 30, "tracked": 30, "published": 30}
    assert report.dropped == {}


def test_a_sink_that_fails_ends_the_run_and_closes_the_others(run_fake, tmp_path):
    report, lines, closed = run_fake("fake://squares", sink_fail=8)
    assert [line["frame"] for line in lines] == list(range(8))
    assert closed
    assert report.errors == [f"{tmp_path}/inproc.jsonl: no space left; frames before 8 are there"]
    assert report.exit == 1
    assert report.frames["read"] == report.frames["tracked"] + sum(report.dropped.values())


def test_a_stage_that_is_not_ready_in_time_is_named(run_fake):
    report, _, _ = run_fake(
        "fake://squares",
        prepare_s=4.0,
        config={"transport": {"kind": "inproc", "start_timeout_s": 1.0}},
    )
    assert report.errors == [
        "stage tracker was not ready within 1 s; raise transport.start_timeout_s"
    ]
    assert report.exit == 1
    assert report.seconds < 1.0 + 2.0


def test_a_frame_larger_than_a_slot_is_a_clear_error(run_fake, monkeypatch):
    import stream.pipeline.launch as launch
    from stream.transport import Ring

    class SmallRing:
        @staticmethod
        def create(slots, consumers):
            return Ring.create(slots, consumers, slot_bytes=4096)

    monkeypatch.setattr(launch, "Ring", SmallRing)
    report, _, _ = run_fake("fake://squares", "ipc")
    assert report.errors == ["a frame of 0 MiB does not fit a slot of 0 MiB; scale the source down"]
    assert report.exit == 1
