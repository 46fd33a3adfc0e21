"""What a track is called when texts compete for it, and when the texts change. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream.config import LifecycleConfig
from stream.lifecycle.matching import Matrix

FORGOTTEN = 0.01


def claims(iou: Matrix, scores: Sequence[float], rules: LifecycleConfig) -> dict[int, list[int]]:
    """Gather the detections that are of one object.

    Args:
        iou: (detections, detections).
        scores: Of the detections.
        rules: `claim_iou`; `keep_score` and `birth_score`, below both of which nothing is claimed.

    Returns:
        Row of the surest detection of each object -> rows of all of its detections, itself first;
        the surest object first.
    """
    lowest = min(rules.keep_score, rules.birth_score)
    out: dict[int, list[int]] = {}
    for row in np.argsort([-score for score in scores], kind="stable").tolist():
        if scores[row] < lowest:
            continue
        leader = max(out, key=lambda other: float(iou[row, other]), default=row)
        if leader == row or iou[row, leader] < rules.claim_iou or iou[row, leader] <= 0:
            out[row] = [row]
        else:
            out[leader].append(row)
    return out


def weigh(
    evidence: Mapping[str, float], claimed: Mapping[str, float], rules: LifecycleConfig
) -> dict[str, float]:
    """Return the evidence for each label after one more detection event.

    A moving average of scores, in which a label that was not claimed scored 0.

    Args:
        evidence: Before, by label; empty before the first event.
        claimed: Best score of each label that a detection claimed the object for.
        rules: `label_rate`.

    Returns:
        Evidence by label, in [0, 1]; a label of next to none is forgotten.
    """
    if not evidence:
        return dict(claimed)
    rate = rules.label_rate
    out = {label: (1 - rate) * value for label, value in evidence.items()}
    for label, score in claimed.items():
        out[label] = out.get(label, 0.0) + rate * score
    return {label: value for label, value in out.items() if value >= FORGOTTEN}


def choose_label(current: str, evidence: Mapping[str, float], rules: LifecycleConfig) -> str:
    """Return what an object is called: another name only when that is clearly the surer one.

    Args:
        current: Its label so far.
        evidence: By label; see `weigh`.
        rules: `label_margin`.
    """
    best = max(evidence, key=lambda label: evidence[label], default=current)
    lead = evidence.get(best, 0.0) - evidence.get(current, 0.0)
    return best if lead > rules.label_margin else current


@dataclass(frozen=True, slots=True)
class Rephrased:
    """What becomes of tracks when the texts change."""

    kept: dict[int, str]
    """Track id -> its label from now on."""
    retired: list[int]


def rephrase(
    labels: Mapping[int, str],
    texts: Sequence[str],
    scores: Mapping[int, Mapping[str, float]],
    rules: LifecycleConfig,
    *,
    anew: bool = False,
) -> Rephrased:
    """Decide which tracks go on under new texts.

    A track whose text is still asked for keeps it whatever the others score: adding a text changes
    nobody's name. Any other goes on under the new text that describes it best, if one does. Other
    negatives weigh all tracks anew: one keeps its text only if that still describes it.

    Args:
        labels: Label by track id, of the old texts.
        texts: The new texts; of equal scores the first counts.
        scores: Score of each track's embedding under each new text, in [0, 1]; a track without
            embedding is not there.
        rules: `text_score`.
        anew: Whether other negatives are asked against; a track without embedding keeps its text.
    """
    kept: dict[int, str] = {}
    for track_id, label in labels.items():
        still = scores.get(track_id, {}).get(label)
        if label in texts and (not anew or still is None or still >= rules.text_score):
            kept[track_id] = label
            continue
        known = {text: scores.get(track_id, {}).get(text, 0.0) for text in texts}
        best = max(known, key=lambda text: known[text], default=None)
        if best is not None and known[best] >= rules.text_score and known[best] > 0:
            kept[track_id] = best
    return Rephrased(kept, [track_id for track_id in labels if track_id not in kept])
