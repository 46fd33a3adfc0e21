"""A second look at masks: a class token for each, and crops of those that stay doubtful."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.backends.face import Runner
from engines.clip_models import crop_size_px, image_statistics
from engines.crops import CropStyle, embed_crops, mask_crops, require_style
from engines.errors import ModelError
from engines.exemplars import Exemplar
from engines.mask_tokens import mask_tokens, patch_masks
from engines.redrawn import Redrawn
from engines.scoring import NO_RIVALS, Evidence, Rivals, mix, pool, weigh
from engines.views import View

VerifyMode = Literal["pooled", "token", "crop", "token+crop"]
VERIFY_MODES: tuple[str, ...] = get_args(VerifyMode)
NO_TILES = "beside tiles take verify pooled or crop"


@dataclass(frozen=True, slots=True)
class Question:
    """Texts against negatives and exemplars against their frames, as one CLIP model sees them."""

    asked: torch.Tensor
    """(T, D) unit vectors."""
    against: torch.Tensor
    """(Q, D) unit vectors."""
    scale: torch.Tensor
    """The model's `logit_scale`, after `exp`."""
    bias: float
    """The model's `logit_bias`, or 0."""
    exemplars: tuple[Exemplar, ...] = ()
    rivals: Rivals = NO_RIVALS

    def weigh(self, vectors: torch.Tensor) -> Evidence:
        """Weigh (..., D) unit vectors; exemplars know those of the dense pass only."""
        evidence = weigh(vectors, self.asked, self.against, self.scale, self.bias, self.rivals)
        return replace(evidence, shown=self.resemblance(vectors))

    def resemblance(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return (..., E): how far (..., D) unit vectors look like each exemplar."""
        if not self.exemplars:
            return vectors[..., :0]
        return torch.stack([item.heat(vectors) for item in self.exemplars], dim=-1)


@dataclass(frozen=True, slots=True)
class CropSettings:
    """When and how a crop is looked at."""

    style: CropStyle = "grey"
    band: tuple[float, float] = (0.35, 0.65)
    """Probabilities between which a mask is doubtful; (0, 1) means all."""
    most: int = 8
    """Crops of one frame; the most doubtful go first."""
    weight: float = 0.5
    """Part of the crop in the combined probabilities; 1 lets the crop decide alone."""

    def __post_init__(self) -> None:
        """Check the values."""
        require_style(self.style)
        low, high = self.band
        if not 0.0 <= low <= high <= 1.0:
            raise ModelError(
                f"crop band {self.band} is not usable; accepted is 0 <= low <= high <= 1"
            )
        if self.most < 0:
            raise ModelError(f"crops of one frame {self.most}: accepted is 0 or more")
        if not 0.0 <= self.weight <= 1.0:
            raise ModelError(f"crop weight {self.weight} is not usable; accepted is 0 to 1")


#: How micro looks at crops: at all of them, since one of its size costs a thirtieth of a look and
#: tells shapes that patches do not.
MICRO_CROPS = CropSettings(band=(0.0, 1.0), most=32, weight=0.75)


def verify(
    clip: Any,
    view: View,
    patches: Evidence,
    question: Question,
    image: npt.NDArray[np.uint8],
    masks: torch.Tensor,
    inside: torch.Tensor,
    *,
    mode: str,
    score: str,
    crops: CropSettings,
    run: Runner | None = None,
    redrawn: Redrawn | None = None,
) -> Evidence:
    """Say what each mask shows.

    Args:
        clip: The open_clip model.
        view: What it sees in the frame, at once for `token`.
        patches: The evidence of each patch, (rows, columns, ...).
        question: The texts.
        image: (H, W, 3) uint8 RGB, the frame.
        masks: (N, h, w) bool, covering the frame.
        inside: (N, rows, columns) how much of a mask lies in each patch, summing to 1.
        mode: One of `VERIFY_MODES`: `pooled` averages the evidence of the patches; `token` asks a
            class token for each mask; `crop` and `token+crop` go on from these with crops.
        score: How probabilities are read where doubt is measured (`scoring.SCORE_MODES`).
        crops: When and how crops are looked at.
        run: The exported tower for crops; None for the model's own.
        redrawn: The masks with their edges drawn again, which crops are cut by; None for `masks`.

    Returns:
        The evidence of N masks. Exemplars are means of dense vectors, so that such a mean is
        compared with them in every mode: class tokens and crops live elsewhere.

    Raises:
        ModelError: `token` is asked of tiles.
    """
    if mode.startswith("token"):
        if view.joint is None:
            raise ModelError(f"verify {mode!r} needs one pass over the frame; {NO_TILES}")
        vectors = mask_tokens(clip.visual, view.joint, patch_masks(inside))
        evidence = question.weigh(F.normalize(vectors.float(), dim=-1))
    else:
        evidence = pool(patches, inside)
    if mode.endswith("crop") and len(question.asked):
        evidence = _with_crops(
            clip.visual, question, image, masks, evidence, score, crops, run, redrawn
        )
    return replace(evidence, shown=question.resemblance(view.pooled(inside)))


def _with_crops(
    visual: Any,
    question: Question,
    image: npt.NDArray[np.uint8],
    masks: torch.Tensor,
    evidence: Evidence,
    score: str,
    crops: CropSettings,
    run: Runner | None,
    redrawn: Redrawn | None,
) -> Evidence:
    rows = doubtful(evidence.text_probability(score).amax(1), crops)
    rows = rows[masks[rows].flatten(1).any(1)]
    if not len(rows):
        return evidence
    side, (mean, std) = crop_size_px(visual), image_statistics(visual)
    cut_by = masks[rows]
    if redrawn is not None:
        size = (int(image.shape[0]), int(image.shape[1]))
        cut_by = redrawn.whole(rows.tolist(), size).to(masks.device)
    planes = mask_crops(image, cut_by, side, crops.style, mean, std)
    seen = question.weigh(embed_crops(visual, planes, run=run))
    return _replace(evidence, rows, mix(evidence.map(lambda part: part[rows]), seen, crops.weight))


def require_verify_mode(mode: str) -> None:
    """Check that a way to verify is known.

    Raises:
        ModelError: It is not.
    """
    if mode not in VERIFY_MODES:
        raise ModelError(f"verify {mode!r} is unknown; accepted are {', '.join(VERIFY_MODES)}")


def doubtful(probability: torch.Tensor, crops: CropSettings) -> torch.Tensor:
    """Return the rows of (N,) probabilities inside the band, nearest to its middle first."""
    low, high = crops.band
    rows = ((probability >= low) & (probability <= high)).nonzero()[:, 0]
    away = (probability[rows] - (low + high) / 2).abs()
    return rows[away.argsort(stable=True)][: crops.most]


def _replace(evidence: Evidence, rows: torch.Tensor, new: Evidence) -> Evidence:
    return Evidence(
        evidence.own.index_copy(0, rows, new.own),
        evidence.p_pos.index_copy(0, rows, new.p_pos),
        evidence.p_neg.index_copy(0, rows, new.p_neg),
        evidence.sigmoid.index_copy(0, rows, new.sigmoid),
        evidence.shown,
        evidence.rivals.index_copy(0, rows, new.rivals),
    )
