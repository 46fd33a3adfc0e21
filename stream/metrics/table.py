"""Every metric that a run exposes. `docs/metrics.md` holds the same table for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

STREAM = "stream"
"""The label that all have: the configuration's `stream`."""

CAUSES = ("overrun", "shutdown", "ring")
NOTICES = ("size", "gap", "relock")
LOSSES = ("stale", "before_keyframe", "corrupt", "lost", "overrun")
EVENTS = ("size", "gap", "cut", "repeat")
QUEUES = ("intake", "frames", "results", "jobs")
RINGS = ("frames", "jobs")
PRECISIONS = ("fp32", "bf16", "fp16")
BACKENDS = ("torch", "onnx", "openvino", "tensorrt")
OTHER = "other"
"""Stands for every value that is not in the list of its label."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: base units, and labels whose values come from short lists."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    """Beside `STREAM`."""

    @property
    def series(self) -> tuple[str, ...]:
        """Names that a query can ask for."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"maskcast_{name}_total", "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"maskcast_{name}", "gauge", text, labels)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"maskcast_{name}", "histogram", text, labels)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _gauge("build_info", "Always 1; what runs.", "version", "model", "precision", "backend"),
        _gauge("live", "1 while no stage hangs, as /health/live says."),
        _gauge("ready", "1 while results come out, as /health/ready says."),
        _gauge("stage_heartbeat_age_seconds", "Time since a stage was last at work.", "stage"),
        _counter("frames_read", "Frames read from the source."),
        _counter("frames_tracked", "Frames that went through the tracker."),
        _counter("frames_published", "Frames whose masks were published."),
        _counter("frames_dropped", "Frames read and not tracked.", "cause"),
        _counter("source_losses", "Frames that never got a number in the run.", "cause"),
        _gauge("source_reconnecting", "1 while the source is gone and is opened again."),
        _counter("source_reconnects", "Times that the source came back."),
        _counter("source_events", "Breaks that the source told of.", "kind"),
        _counter("stream_events", "Breaks that the tracker noticed.", "kind"),
        _histogram("frame_latency_seconds", "From the capture of a frame to its publication."),
        _histogram(
            "frame_step_seconds", "Steps of a frame, named by the stamp that ends them.", "step"
        ),
        _gauge("result_age_seconds", "Age of the newest published result, now."),
        _counter("detection_events", "Answers of the detector."),
        _counter("detections_accepted", "Detections that support, revive or start a track."),
        _counter("detections_late", "Answers that came too late to be used."),
        _histogram("detection_seconds", "Time of one look of the detector."),
        _histogram("detection_delay_frames", "Processed frames from a look to its answer."),
        _gauge("objects", "Objects shown now."),
        _counter("objects_ever", "Ids ever given."),
        _gauge("queue_depth", "What waits, or is under way, between two stages.", "queue"),
        _gauge("ring_slots", "Slots of a ring of shared memory.", "ring"),
        _gauge("ring_slots_used", "Slots that somebody holds.", "ring"),
        _counter("process_cpu_seconds", "Processor time of a stage's process.", "stage"),
        _gauge("process_resident_memory_bytes", "Resident memory of a stage's process.", "stage"),
        _gauge("gpu_memory_allocated_bytes", "Held by a stage's tensors.", "stage", "device"),
        _gauge("gpu_memory_reserved_bytes", "Held by a stage's allocator.", "stage", "device"),
        _gauge("gpu_memory_used_bytes", "Used on the device, by all programs.", "stage", "device"),
        _gauge("gpu_memory_total_bytes", "What the device has.", "stage", "device"),
        _gauge("gpu_utilization_ratio", "Share of time the device works.", "stage", "device"),
    )
}
"""By name, as a query asks for it (histograms without `_bucket`, `_count` and `_sum`)."""
