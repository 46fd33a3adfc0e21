"""When to detect, and when to wait for a detection. Pure; frames are processed frames."""

from __future__ import annotations

from dataclasses import dataclass

from stream.config import DetectorConfig


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of the scene when the next detection is planned."""

    all_confirmed: bool = True
    """Whether no track is tentative."""
    cut: bool = False
    """Whether the scene changed since the last detection."""
    quiet_events: int = 0
    """Detections in a row that found what was known, all of it, and nothing else."""
    similarity: float | None = None
    """Cosine of the image embeddings of the last two detections; None where there are none."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Wanted distance from one detection to the next."""

    frames: int
    seconds: float | None = None
    """Stream time that counts instead of frames; None: frames count."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the stream is, or was."""

    step: int
    """Number of the processed frame."""
    time_s: float
    """Stream time in seconds."""


def is_still(scene: Scene, rules: DetectorConfig) -> bool:
    """Return whether nothing changes.

    Args:
        scene: What is known.
        rules: `still_cosine`, or `still_events` where no similarity is known.
    """
    if not scene.all_confirmed or scene.cut:
        return False
    if scene.similarity is not None:
        return scene.similarity > rules.still_cosine
    return scene.quiet_events >= rules.still_events


def choose_pace(scene: Scene, rules: DetectorConfig) -> Pace:
    """Return how far the next detection is from the last one.

    Args:
        scene: What is known.
        rules: `every_n_frames` or `every_s`; where `adaptive`, `every_n_unsure` with tentative
            tracks or after a cut and `every_n_still` when nothing changes, and seconds in the same
            proportion.
    """
    frames = rules.every_n_frames
    if rules.adaptive and (scene.cut or not scene.all_confirmed):
        frames = min(frames, rules.every_n_unsure)
    elif rules.adaptive and is_still(scene, rules):
        frames = max(frames, rules.every_n_still)
    if rules.every_s is None:
        return Pace(frames)
    return Pace(frames, rules.every_s * frames / rules.every_n_frames)


def is_due(now: Moment, last: Moment | None, pace: Pace, *, in_flight: bool) -> bool:
    """Return whether a frame goes to the detector.

    Args:
        now: The frame being processed.
        last: The last frame that went there; None before the first.
        pace: Wanted distance.
        in_flight: Whether the detector has not answered yet; it is asked one thing at a time.
    """
    if in_flight:
        return False
    if last is None:
        return True
    if pace.seconds is None:
        return now.step - last.step >= pace.frames
    # A clock that went back says nothing about the distance.
    return now.time_s < last.time_s or now.time_s - last.time_s >= pace.seconds


def must_wait(
    now: Moment, asked: Moment | None, pace: Pace, *, live: bool, tracking: bool, frame_s: float
) -> bool:
    """Return whether a frame waits for the detection that is under way.

    A live stream never waits. A file does, so that its result does not depend on the machine's
    speed: for the first objects in the very frame they are seen in, later until the frame before
    the next detection, so that both networks still work at the same time.

    Args:
        now: The frame being processed.
        asked: The frame that the detector works on; None when it is idle.
        pace: Distance of detections.
        live: Whether frames come whether they are read or not.
        tracking: Whether any object is tracked.
        frame_s: Stream time from the last frame to this one, which the next is taken to be away.
    """
    if live or asked is None:
        return False
    following = Moment(now.step + 1, now.time_s + frame_s)
    return not tracking or is_due(following, asked, pace, in_flight=False)
