"""Ways to a detector in the same process: none at all, and one that takes so many frames."""

from __future__ import annotations

from stream.contracts import DetectionJob, DetectionResult, DetectorCore


class NoDetector:
    """Nobody is asked: every job is refused."""

    def submit(self, job: DetectionJob) -> bool:
        """Refuse a job."""
        return False

    def poll(self, timeout_s: float) -> DetectionResult | None:
        """Return nothing."""
        return None


class InlineDetector:
    """A detector whose answers come so many frames late.

    Args:
        core: Finds the objects.
        delay: Frames between the one asked about and the one in which the answer is heard; 0: the
            same. The tracker polls once a frame, and where it waits, gets the answer at once.
    """

    def __init__(self, core: DetectorCore, delay: int = 0) -> None:
        self._core = core
        self._delay = delay
        self._job: DetectionJob | None = None
        self._polls = 0

    def submit(self, job: DetectionJob) -> bool:
        """Take a job; False while one is open."""
        if self._job is not None:
            return False
        self._job, self._polls = job, 0
        return True

    def poll(self, timeout_s: float) -> DetectionResult | None:
        """Answer if it is time to."""
        if self._job is None:
            return None
        self._polls += 1
        if timeout_s == 0.0 and self._polls <= self._delay:
            return None
        job, self._job = self._job, None
        return self._core.detect(job)
