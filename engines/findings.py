"""From evidence to results: labels, scores, boxes and what they were made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.candidates import Candidates
from engines.detection import DetectorSettings, Found, TextEvidence
from engines.edges import Placed
from engines.redrawn import Redrawn
from engines.scoring import Evidence, final_score, outdone

MASK_SIDE = 256
"""Largest side of a result's mask, but where the decoder's own is larger."""


@dataclass(frozen=True, slots=True)
class Words:
    """What evidence is about, in its order."""

    texts: tuple[str, ...]
    negatives: tuple[str, ...]
    exemplars: tuple[str, ...] = ()
    rival_of: tuple[int, ...] = ()
    """Of what could have been said instead: the place of the text that it differs from."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All that a mask can be called."""
        return (*self.texts, *self.exemplars)


def findings(
    words: Words,
    evidence: Evidence,
    candidates: Candidates,
    embeddings: torch.Tensor,
    settings: DetectorSettings,
    frame_size: tuple[int, int],
    image_side: int,
    redrawn: Redrawn | None = None,
) -> list[Found]:
    """Name and score N masks; those that score too low are left out.

    Args:
        words: What the evidence is about.
        evidence: Of N masks.
        candidates: The N masks.
        embeddings: (N, D) unit vectors.
        settings: Thresholds.
        frame_size: (H, W) in pixels.
        image_side: Side of the segmenter's input in pixels; masks are no finer.
        redrawn: The N masks with their edges drawn again, where they were.

    Returns:
        The best first.
    """
    probability = evidence.probability(settings.score)
    probability[:, : len(words.texts)].masked_fill_(outdone(evidence, words.rival_of), 0.0)
    chance, best = probability.max(1)
    scores = final_score(chance, candidates.quality, settings.calibration)
    side = mask_side(image_side)
    masks = _brought_to(candidates.logits, side) if redrawn is None else redrawn.masks.numpy()
    height, width = frame_size
    found = []
    for row in scores.argsort(descending=True, stable=True).tolist():
        score = float(scores[row])
        label = int(best[row])
        # What was held against its rivals need not be sure besides.
        least = 0.0 if label in words.rival_of else settings.min_probability
        unsure = score < settings.min_score or float(chance[row]) < least
        if (unsure and not settings.accept_best) or not masks[row].any():
            continue
        x, y = candidates.points[row].tolist()
        found.append(
            Found(
                label=words.labels[label],
                score=score,
                mask=masks[row],
                box=_box(redrawn.placed[row]) if redrawn else tight_box(masks[row], width, height),
                point=(x * width, y * height),
                embedding=embeddings[row].cpu().numpy(),
                evidence=_of_one(words, evidence, row),
            )
        )
    return found


def _brought_to(logits: torch.Tensor, side: int) -> npt.NDArray[np.bool_]:
    """Return (N, h, w) logits as (N, side, side) masks."""
    large = F.interpolate(logits[:, None], size=(side, side), mode="bilinear", align_corners=False)
    out: npt.NDArray[np.bool_] = (large[:, 0] > 0).cpu().numpy()
    return out


def _box(place: Placed) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = place[1]
    return float(x0), float(y0), float(x1), float(y1)


def mask_side(image_side: int) -> int:
    """Return the side of results' masks: a whole multiple of that of the decoder's logits."""
    logits_side = image_side // 4
    return logits_side * min(4, max(1, MASK_SIDE // logits_side))


def tight_box(
    mask: npt.NDArray[np.bool_], width: int, height: int
) -> tuple[float, float, float, float]:
    """Return x0, y0, x1, y1 in pixels of a frame that a mask (h, w) covers; it is not empty."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    across, down = width / mask.shape[1], height / mask.shape[0]
    return (
        float(cols[0] * across),
        float(rows[0] * down),
        float((cols[-1] + 1) * across),
        float((rows[-1] + 1) * down),
    )


def _of_one(words: Words, evidence: Evidence, row: int) -> TextEvidence:
    mine = evidence.map(lambda part: part[row])
    return TextEvidence(
        own=dict(zip(words.texts, mine.own.tolist(), strict=True)),
        p_pos=dict(zip(words.texts, mine.p_pos.tolist(), strict=True)),
        p_neg=dict(zip(words.negatives, mine.p_neg.tolist(), strict=True)),
        p_pos_sum=float(mine.p_pos_sum),
        p_neg_sum=float(mine.p_neg_sum),
        multiplier=float(mine.multiplier),
        sigmoid=dict(zip(words.texts, mine.sigmoid.tolist(), strict=True)),
        exemplars=dict(zip(words.exemplars, mine.shown.tolist(), strict=True)),
    )
