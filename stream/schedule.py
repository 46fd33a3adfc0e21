"""When to detect, and when to wait for a detection. Pure; time is counted in processed frames."""

from __future__ import annotations


def should_detect(step: int, last_step: int | None, every_n_frames: int) -> bool:
    """Return whether a frame goes to the detector.

    Args:
        step: Number of the processed frame.
        last_step: Number of the last frame that went there; None before the first.
        every_n_frames: Wanted distance.
    """
    return last_step is None or step - last_step >= every_n_frames


def must_wait(
    *, live: bool, step: int, pending_step: int | None, tracking: bool, every_n_frames: int
) -> bool:
    """Return whether a frame waits for the detection that is under way.

    A live stream never waits. A file does, so that its result does not depend on the machine's
    speed: for the first objects in the very frame they are seen in, later until the frame before
    the next detection, so that both networks still work at the same time.

    Args:
        live: Whether frames come whether they are read or not.
        step: Number of the frame being processed.
        pending_step: Number of the frame that the detector works on; None when it is idle.
        tracking: Whether any object is tracked.
        every_n_frames: Distance of detections.
    """
    if live or pending_step is None:
        return False
    return not tracking or step - pending_step >= every_n_frames - 1
