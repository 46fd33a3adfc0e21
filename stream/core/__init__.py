"""The cores of the tracker and the detector: models and lifecycle, no transport."""

from __future__ import annotations

from stream.config import Config
from stream.contracts import DetectorCore, TrackerCore
from stream.question import question_of


def make_tracker_core(config: Config) -> TrackerCore:
    """Return the tracker's core; models load in `prepare`."""
    from stream.core.track import TrackCore

    return TrackCore(config.tracker, config.detector, config.lifecycle, question_of(config))


def make_detector_core(config: Config) -> DetectorCore:
    """Return the detector's core; models load in `prepare`."""
    from stream.core.detect import DetectCore

    return DetectCore(config.tracker, config.detector, question_of(config))
