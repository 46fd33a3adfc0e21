"""When a track is born, confirmed, corrected, ended or gives way. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stream.config import LifecycleConfig
from stream.lifecycle.track import Track


def is_new(overlap: float, score: float, rules: LifecycleConfig) -> bool:
    """Return whether a detection is an object that nobody tracks yet.

    Args:
        overlap: Its largest IoU with any track at its frame.
        score: Its score.
        rules: `new_iou` and `birth_score`.
    """
    return overlap < rules.new_iou and score >= rules.birth_score


def is_confirmed(supports: Sequence[bool], score: float, rules: LifecycleConfig) -> bool:
    """Return whether a tentative track has been seen often enough, or clearly enough once.

    Args:
        supports: Whether each of its detection events supported it, the newest last.
        score: Score of the newest support.
        rules: `confirm_supports` of `confirm_window`, or one of `confirm_score`.
    """
    recent = list(supports)[-rules.confirm_window :]
    return score >= rules.confirm_score or sum(recent) >= rules.confirm_supports


def has_failed(supports: Sequence[bool], rules: LifecycleConfig) -> bool:
    """Return whether a tentative track can no longer be confirmed."""
    recent = list(supports)[-rules.confirm_window :]
    return len(recent) >= rules.confirm_window and sum(recent) < rules.confirm_supports


def is_abandoned(track: Track, rules: LifecycleConfig) -> bool:
    """Return whether detections have contradicted a track for long enough to end it.

    Args:
        track: After the event; one made by hand never is.
        rules: `confirm_supports` of `confirm_window` for a tentative one,
            `remove_after_unsupported` for all.
    """
    if track.by_hand:
        return False
    failed = not track.confirmed and has_failed(track.supports, rules)
    return failed or track.unsupported >= rules.remove_after_unsupported


def has_left(empty_since_s: float | None, now_s: float, rules: LifecycleConfig) -> bool:
    """Return whether nothing was visible of a track for so long that it ends.

    Args:
        empty_since_s: Stream time in seconds; None while something is visible.
        now_s: Stream time in seconds.
        rules: `remove_after_empty_s`.
    """
    return empty_since_s is not None and now_s - empty_since_s >= rules.remove_after_empty_s


def wants_reconditioning(
    score: float, overlap: float, object_probability: float, supported: int, rules: LifecycleConfig
) -> bool:
    """Return whether a detection may correct a track: it is due, and all three are sure.

    Args:
        score: The detection's.
        overlap: IoU of the two at the detection's frame.
        object_probability: The tracker's, that the object is there.
        supported: Detections that supported the track since one last corrected it, this included.
        rules: `recondition_score`, which all three must exceed, and `recondition_every`.
    """
    sure = min(score, overlap, object_probability) > rules.recondition_score
    return sure and supported >= rules.recondition_every


def certainty(track: Track, rules: LifecycleConfig) -> tuple[bool, float]:
    """Return how sure a track is, to be compared: confirmed ones first, then by score.

    Args:
        track: The track.
        rules: `remove_after_unsupported`; each event in vain takes its share of the score.
    """
    trust = 1 - track.unsupported / rules.remove_after_unsupported
    return track.confirmed, track.score * trust


def gives_way(
    tracks: Sequence[Track], confirmed: bool, score: float, rules: LifecycleConfig
) -> int | None:
    """Return the track that ends where there is room for no more, None if the new one waits.

    Args:
        tracks: Those that may end; one made by hand stays.
        confirmed: Whether the new one would be confirmed at once.
        score: Its score.
        rules: `cap_margin`, by which it must be surer than the least certain, of equals the
            youngest.
    """
    free = [track for track in tracks if not track.by_hand]
    if not free:
        return None
    least = min(free, key=lambda track: (*certainty(track, rules), -track.id))
    was_confirmed, was_score = certainty(least, rules)
    surer = (was_confirmed, was_score + rules.cap_margin) < (confirmed, score)
    return least.id if surer else None
