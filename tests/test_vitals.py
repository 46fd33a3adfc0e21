"""Health by the clock that is handed in: who hangs, who is accused, and when a run is ready."""

from __future__ import annotations

import pytest

from stream.vitals import STAGES, SUPERVISOR, Pulse, Vitals

S = 1_000_000_000


def pulses(beat_ns: int, **special: Pulse) -> dict[str, Pulse]:
    return {stage: Pulse("running", beat_ns) for stage in (*STAGES, SUPERVISOR)} | special


def running(now_ns: int = 100 * S, **special: Pulse) -> Vitals:
    """A run that is well at a time, one frame published."""
    vitals = Vitals(hung_after_s=5.0)
    vitals.beat(now_ns)
    vitals.hear("running", pulses(now_ns, **special))
    vitals.published(now_ns - S, {}, now_ns)
    return vitals


def test_well_and_ready() -> None:
    beaten = Pulse("running", 100 * S - S // 4)
    health = running(tracker=beaten).health(100 * S + S // 4)
    assert (health.live, health.ready, health.reasons) == (True, True, ())
    assert health.age_s == 1.25
    assert set(health.stages) == {*STAGES, SUPERVISOR}
    assert health.stages["tracker"].heartbeat_age_s == 0.25
    assert health.stages["publisher"].frames == 1


@pytest.mark.parametrize("stage", ["reader", "tracker", "detector"])
def test_a_stage_hangs_after_its_time_and_not_before(stage: str) -> None:
    now_ns = 100 * S
    vitals = running(now_ns, **{stage: Pulse("running", now_ns - 5 * S)})
    assert vitals.health(now_ns).live
    assert vitals.health(now_ns + 2 * S).live  # nobody could have heard of it since
    vitals = running(now_ns, **{stage: Pulse("running", now_ns - 5 * S - S // 10)})
    health = vitals.health(now_ns)
    assert not health.live
    assert not health.ready
    assert health.stages[stage].state == "hung"
    assert health.reasons == (f"{stage} has not been at work for 5.1 s",)
    assert [n for n, s in health.stages.items() if s.state == "hung"] == [stage]


def test_a_publisher_that_hangs_accuses_nobody_else() -> None:
    health = running().health(160 * S)
    assert not health.live
    assert [n for n, s in health.stages.items() if s.state == "hung"] == ["publisher"]


def test_a_supervisor_that_is_silent_is_told() -> None:
    vitals = running()
    vitals.beat(110 * S)
    health = vitals.health(110 * S)
    assert [n for n, s in health.stages.items() if s.state == "hung"] == [SUPERVISOR]


def test_the_publisher_own_word_needs_no_supervisor() -> None:
    vitals = running(publisher=Pulse("running", 50 * S))
    assert vitals.health(100 * S).live


def test_starting_and_ended_stages_do_not_hang() -> None:
    vitals = Vitals(hung_after_s=5.0)
    health = vitals.health(1000 * S)
    assert health.live
    assert not health.ready
    assert health.reasons == ("the run is starting",)
    assert {stage.state for stage in health.stages.values()} == {"starting"}
    vitals = running(reader=Pulse("ended", 1), detector=Pulse("starting", 0))
    assert vitals.health(100 * S).live
    assert vitals.health(100 * S).stages["reader"].state == "ended"


def test_ready_needs_a_frame_a_source_and_a_run_that_goes_on() -> None:
    now_ns = 100 * S
    vitals = Vitals(hung_after_s=5.0)
    vitals.beat(now_ns)
    vitals.hear("running", pulses(now_ns))
    assert vitals.health(now_ns).reasons == ("no frame was published yet",)
    vitals.published(now_ns - S, {}, now_ns)
    assert vitals.health(now_ns).ready
    gone = Pulse("running", now_ns, values={"reconnecting": True})
    vitals.hear("running", pulses(now_ns, reader=gone))
    health = vitals.health(now_ns)
    assert (health.live, health.ready) == (True, False)
    assert health.reasons == ("the source is reconnecting",)
    vitals.hear("ending", pulses(now_ns))
    assert vitals.health(now_ns).reasons == ("the run is ending",)


def test_steps_are_counted_from_stamp_to_stamp_and_stay_few() -> None:
    vitals = Vitals()
    vitals.published(0, {"captured": 0, "tracked": 5 * S, "read": 2 * S}, 6 * S)
    times = vitals.times()
    assert {name: buckets.sum for name, buckets in times.steps_s.items()} == {
        "read": 2.0, "tracked": 3.0, "published": 1.0,
    }  # fmt: skip
    assert times.latency_s.sum == 6.0
    for number in range(100):
        vitals.published(0, {f"step{number}": S}, 2 * S)
    assert len(vitals.times().steps_s) == 32
    assert vitals.times().published == 101
