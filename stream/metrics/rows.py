"""From what is known of a run to the samples of each metric. Pure: time is an argument."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from stream.buckets import Buckets
from stream.metrics import table
from stream.metrics.processes import Usage
from stream.vitals import Vitals

Rows = dict[str, list[tuple[tuple[str, ...], float | Buckets]]]
"""Samples by metric: the values of its labels (without the stream's), and the sample."""

_GPU = {
    "allocated_bytes": "gpu_memory_allocated_bytes",
    "reserved_bytes": "gpu_memory_reserved_bytes",
    "used_bytes": "gpu_memory_used_bytes",
    "total_bytes": "gpu_memory_total_bytes",
    "load": "gpu_utilization_ratio",
}


class Sheet:
    """Collects the samples of one scrape."""

    def __init__(self) -> None:
        self.rows: Rows = defaultdict(list)

    def put(self, name: str, value: float | Buckets | None, *labels: str) -> None:
        """Add a sample; None is left out."""
        if value is not None:
            self.rows[f"maskcast_{name}"].append((labels, value))

    def count(self, name: str, counts: Mapping[str, int], known: tuple[str, ...]) -> None:
        """Add a sample for each value of a label that is known, and one for the rest, if any."""
        for label in known:
            self.put(name, counts.get(label, 0), label)
        if rest := sum(n for label, n in counts.items() if label not in known):
            self.put(name, rest, table.OTHER)


def rows_of(vitals: Vitals, now_ns: int, processes: Mapping[str, Usage], version: str = "") -> Rows:
    """Return all samples.

    Args:
        vitals: What is known.
        now_ns: Monotonic time of the scrape.
        processes: By stage.
        version: Of maskcast.
    """
    sheet = Sheet()
    _health(sheet, vitals, now_ns)
    _frames(sheet, vitals, now_ns)
    _source(sheet, vitals.values("reader"))
    _build(sheet, vitals, version)
    _tracker(sheet, vitals.values("tracker"))
    _between(sheet, vitals)
    for stage, usage in processes.items():
        sheet.put("process_cpu_seconds_total", usage.cpu_s, stage)
        sheet.put("process_resident_memory_bytes", usage.resident_bytes, stage)
    return sheet.rows


def _health(sheet: Sheet, vitals: Vitals, now_ns: int) -> None:
    health = vitals.health(now_ns)
    sheet.put("live", float(health.live))
    sheet.put("ready", float(health.ready))
    for stage, state in health.stages.items():
        sheet.put("stage_heartbeat_age_seconds", state.heartbeat_age_s, stage)


def _frames(sheet: Sheet, vitals: Vitals, now_ns: int) -> None:
    times = vitals.times()
    sheet.put("frames_read_total", vitals.values("reader").get("read", 0))
    sheet.put("frames_tracked_total", vitals.values("tracker").get("tracked", 0))
    sheet.put("frames_published_total", times.published)
    dropped: dict[str, int] = defaultdict(int)
    for stage in ("reader", "tracker"):
        for cause, count in vitals.values(stage).get("dropped", {}).items():
            dropped[cause] += count
    sheet.count("frames_dropped_total", dropped, table.CAUSES)
    sheet.put("frame_latency_seconds", times.latency_s)
    for step, buckets in times.steps_s.items():
        sheet.put("frame_step_seconds", buckets, step)
    sheet.put("result_age_seconds", vitals.age_s(now_ns))


def _source(sheet: Sheet, reader: Mapping[str, Any]) -> None:
    counters = dict(reader.get("source", {}).get("counters", {}))
    sheet.put("source_reconnects_total", counters.pop("reconnects", 0))
    sheet.count("source_losses_total", counters, table.LOSSES)
    sheet.count("source_events_total", reader.get("events", {}), table.NOTICES)
    sheet.put("source_reconnecting", float(bool(reader.get("reconnecting"))))


def _build(sheet: Sheet, vitals: Vitals, version: str) -> None:
    """Say what runs, once the tracker has said in which precision."""
    if core := vitals.values("tracker").get("core"):
        precision = _one_of(core.get("precision"), table.PRECISIONS)
        backend = _one_of(core.get("backend", "torch"), table.BACKENDS)
        sheet.put("build_info", 1.0, version, vitals.model, precision, backend)


def _tracker(sheet: Sheet, tracker: Mapping[str, Any]) -> None:
    core: Mapping[str, Any] = tracker.get("core", {})
    detection = core.get("detection", {})
    sheet.put("detection_events_total", detection.get("events", 0))
    sheet.put("detections_accepted_total", detection.get("accepted", 0))
    sheet.put("detections_late_total", detection.get("too_late", 0))
    sheet.put("detection_seconds", _buckets(tracker.get("detect_s")))
    sheet.put("detection_delay_frames", _buckets(core.get("delay_frames")))
    sheet.put("objects", core.get("objects", {}).get("now", 0))
    sheet.put("objects_ever_total", core.get("objects", {}).get("ever", 0))
    sheet.count("stream_events_total", core.get("stream_events", {}), table.EVENTS)


def _between(sheet: Sheet, vitals: Vitals) -> None:
    """Add queues and rings, which the stages at their beginnings tell of, and GPUs."""
    for stage in ("reader", "tracker"):
        values = vitals.values(stage)
        for queue, depth in values.get("queues", {}).items():
            sheet.put("queue_depth", depth, _one_of(queue, table.QUEUES))
        for ring, usage in values.get("rings", {}).items():
            if usage is not None:
                used, slots = usage
                sheet.put("ring_slots", slots, _one_of(ring, table.RINGS))
                sheet.put("ring_slots_used", used, _one_of(ring, table.RINGS))
    trackers = vitals.values("tracker").get("core", {}).get("gpu")
    detectors = vitals.values("detector").get("gpu")
    for stage, gpu in (("tracker", trackers), ("detector", detectors)):
        for key, name in _GPU.items():
            if gpu and key in gpu:
                sheet.put(name, gpu[key], stage, str(gpu["device"]))


def _one_of(value: object, known: tuple[str, ...]) -> str:
    return str(value) if value in known else table.OTHER


def _buckets(data: Mapping[str, Any] | None) -> Buckets | None:
    return None if data is None else Buckets.from_data(data)
