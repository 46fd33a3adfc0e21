"""What a scrape reads: names, units, values, labels; in both formats."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from stream.metrics import METRICS, Exposition
from stream.metrics.table import OTHER
from stream.vitals import Vitals
from tests.metrics.conftest import NOW_NS, FakeProcesses, make_vitals

OPEN = "application/openmetrics-text; version=1.0.0"


def samples(vitals: Vitals, accept: str = "") -> dict[tuple, float]:
    """Values by name and labels (without the stream's, which all have)."""
    body, content_type = Exposition(vitals, lambda: NOW_NS, FakeProcesses()).render(accept)
    parse = parse_open if "openmetrics" in content_type else parse_plain
    found = {}
    for family in parse(body.decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("stream") == vitals.stream
            key = (sample.name, *sorted(labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def test_both_formats_parse_and_say_the_same(vitals: Vitals) -> None:
    assert samples(vitals) == samples(vitals, OPEN)
    body, content_type = Exposition(vitals).render(OPEN)
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert Exposition(vitals).render()[1].startswith("text/plain; version=0.0.4")


def test_every_metric_of_the_table_is_exposed_and_no_other(vitals: Vitals) -> None:
    series = {name for metric in METRICS.values() for name in metric.series}
    assert {key[0] for key in samples(vitals)} == series


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda m: m.name)
def test_names_follow_the_conventions(metric) -> None:
    assert metric.name.startswith("maskcast_")
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    for wrong in ("_ms", "_ns", "_mb", "_percent", "milli"):
        assert wrong not in metric.name
    if metric.kind == "histogram":
        assert metric.name.endswith(("_seconds", "_frames"))
    assert metric.help.endswith(".")
    assert set(metric.labels) <= {
        "stage", "cause", "kind", "step", "queue", "ring", "device",
        "version", "model", "precision", "backend",
    }  # fmt: skip


def test_values_are_exact(vitals: Vitals) -> None:
    found = samples(vitals)
    expected = {
        ("maskcast_live",): 1,
        ("maskcast_ready",): 1,
        ("maskcast_stage_heartbeat_age_seconds", ("stage", "tracker")): 0.25,
        ("maskcast_stage_heartbeat_age_seconds", ("stage", "publisher")): 0.0,
        ("maskcast_frames_read_total",): 90,
        ("maskcast_frames_tracked_total",): 67,
        ("maskcast_frames_published_total",): 3,
        ("maskcast_frames_dropped_total", ("cause", "overrun")): 20,
        ("maskcast_frames_dropped_total", ("cause", "shutdown")): 1,
        ("maskcast_frames_dropped_total", ("cause", "ring")): 2,
        ("maskcast_source_losses_total", ("cause", "stale")): 3,
        ("maskcast_source_losses_total", ("cause", OTHER)): 4,
        ("maskcast_source_reconnecting",): 0,
        ("maskcast_source_reconnects_total",): 2,
        ("maskcast_source_events_total", ("kind", "gap")): 2,
        ("maskcast_stream_events_total", ("kind", "cut")): 1,
        ("maskcast_stream_events_total", ("kind", OTHER)): 1,
        ("maskcast_frame_latency_seconds_count",): 3,
        ("maskcast_frame_latency_seconds_bucket", ("le", "0.05")): 0,
        ("maskcast_frame_latency_seconds_bucket", ("le", "0.075")): 3,
        ("maskcast_frame_latency_seconds_bucket", ("le", "+Inf")): 3,
        ("maskcast_frame_step_seconds_count", ("step", "read")): 3,
        ("maskcast_frame_step_seconds_bucket", ("le", "0.002"), ("step", "read")): 3,
        ("maskcast_frame_step_seconds_bucket", ("le", "0.05"), ("step", "tracked")): 0,
        ("maskcast_result_age_seconds",): 0.1,
        ("maskcast_detection_events_total",): 9,
        ("maskcast_detections_accepted_total",): 30,
        ("maskcast_detections_late_total",): 1,
        ("maskcast_detection_seconds_sum",): 0.44,
        ("maskcast_detection_delay_frames_sum",): 12,
        ("maskcast_detection_delay_frames_bucket", ("le", "6.0")): 1,
        ("maskcast_objects",): 4,
        ("maskcast_objects_ever_total",): 11,
        ("maskcast_queue_depth", ("queue", "frames")): 2,
        ("maskcast_ring_slots", ("ring", "frames")): 8,
        ("maskcast_ring_slots_used", ("ring", "frames")): 3,
        ("maskcast_process_cpu_seconds_total", ("stage", "reader")): 1.0,
        ("maskcast_process_resident_memory_bytes", ("stage", "tracker")): 11 << 20,
        ("maskcast_gpu_memory_allocated_bytes", ("device", "0"), ("stage", "detector")): 200,
        ("maskcast_gpu_utilization_ratio", ("device", "0"), ("stage", "tracker")): 0.25,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found[("maskcast_frame_latency_seconds_sum",)] == pytest.approx(3 * 0.064)
    (info,) = [key for key in found if key[0] == "maskcast_build_info"]
    labels = dict(info[1:])
    assert labels.pop("version")
    assert labels == {"backend": "torch", "model": "micro", "precision": "bf16"}


def test_what_is_not_known_is_left_out() -> None:
    found = {key[0] for key in samples(Vitals())}
    assert "maskcast_frames_read_total" in found
    for name in ("result_age_seconds", "build_info", "gpu_utilization_ratio", "ring_slots"):
        assert f"maskcast_{name}" not in found


def test_no_words_of_a_person_and_no_credentials_get_out() -> None:
    secret = "rtsp://user:hunter2@camera/a red car"
    for accept in ("", OPEN):
        body, _ = Exposition(make_vitals(secret), lambda: NOW_NS, FakeProcesses()).render(accept)
        for word in (b"hunter2", b"user:", b"camera", b"rtsp", b"a red", b"asked"):
            assert word not in body
    plain, wordy = samples(make_vitals()), samples(make_vitals(secret))
    assert set(plain) == set(wordy)


def test_labels_stay_few_whatever_is_told() -> None:
    vitals = make_vitals()
    before = len(samples(vitals))
    tracker = vitals.pulses["tracker"].values
    for number in range(1000):
        tracker["core"]["stream_events"][f"kind {number}"] = 1
        tracker["dropped"][f"cause {number}"] = 1
    tracker["core"]["precision"] = "int3"
    found = samples(vitals)
    assert len(found) == before + 1  # the drops' `other`
    assert found[("maskcast_stream_events_total", ("kind", OTHER))] == 1001
    assert found[("maskcast_frames_dropped_total", ("cause", OTHER))] == 1000
    (info,) = [dict(key[1:]) for key in found if key[0] == "maskcast_build_info"]
    assert info["precision"] == OTHER


def test_two_runs_in_one_process_do_not_meet(vitals: Vitals) -> None:
    other = Vitals("line-4")
    assert samples(other)[("maskcast_frames_read_total",)] == 0
    assert samples(vitals)[("maskcast_frames_read_total",)] == 90
