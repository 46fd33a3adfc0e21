"""From texts to masks in one frame: dense CLIP, prompts where it is warm, the SAM2 decoder, scores.

One CLIP pass with a last block without residual and MLP (NACLIP, Hajimiri et al. 2024, arXiv
2404.08181) gives a vector for each patch; a softmax against negative texts makes it a heatmap; its
peaks prompt the SAM2 mask decoder on the features that the tracker has computed already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.clip_models import image_statistics
from engines.decoding import decode_prompts
from engines.dense import DensePass, dense_pass, require_plain_vit
from engines.detection import DetectorSettings, Found, TextEvidence
from engines.features import Features
from engines.images import to_input
from engines.pieces import one_piece
from engines.proposals import grid_points, peaks, regions, suppress
from engines.scoring import Evidence, calibrate, sigmoid_bias
from engines.texts import TextBank
from engines.verification import Question, verify

__all__ = ["DetectorSettings", "Found", "TextDetector", "TextEvidence", "calibrate"]


class TextDetector:
    """Finds what texts describe.

    Args:
        sam: A `SAM2Base`; only its prompt encoder and mask decoder are used.
        clip: An open_clip model with a plain ViT image tower.
        bank: The text bank of `clip`.
        settings: Thresholds.
        rendered_prompts: Whether `sam` wants prompts drawn as well (`engines.prompts`).
        device: A torch device.

    Raises:
        ModelError: CLIP's image tower is of another kind, or the settings do not suit it.
    """

    def __init__(
        self,
        sam: Any,
        clip: Any,
        bank: TextBank,
        settings: DetectorSettings,
        *,
        rendered_prompts: bool = False,
        device: str = "cpu",
    ) -> None:
        require_plain_vit(clip.visual)
        self._bias = sigmoid_bias(clip, settings.score, settings.logit_bias)
        self.device = torch.device(device)
        self._sam = sam.to(self.device).eval()
        self._clip = clip.to(self.device).eval()
        self._bank = bank
        self._rendered = rendered_prompts
        self.settings = settings

    @torch.inference_mode()
    def detect(
        self,
        image: npt.NDArray[np.uint8],
        features: Features,
        texts: Sequence[str] | None = None,
        negatives: Sequence[str] = (),
    ) -> list[Found]:
        """Find the objects in one frame, best first.

        Args:
            image: (H, W, 3) uint8 RGB.
            features: The SAM2 features of the same frame.
            texts: What is asked for; each is weighed against the negatives on its own. None for
                the bank's texts.
            negatives: The user's negatives, besides the bank's.

        Raises:
            ModelError: No text is given and the bank has none.
        """
        asked = self._bank.texts if texts is None else tuple(texts)
        against = tuple(dict.fromkeys([*self._bank.negatives, *negatives]))
        question = self._question(asked, against)
        dense = self._dense(image)
        vectors = _unit_patches(dense)
        patches = question.weigh(vectors)
        points, logits, quality = self._propose(features, patches.own.amax(-1))
        if not len(points):
            return []
        if self.settings.one_piece:
            logits = one_piece(logits, points)
        keep = self._select(logits, quality, features.frame_size)
        if not len(keep):
            return []
        logits, quality, points = logits[keep], quality[keep], points[keep]
        inside = _coverage(logits, dense.grid, points)
        use = self.settings
        evidence = verify(
            self._clip, dense, patches, question, image, logits > 0, inside,
            mode=use.verify, score=use.score, crops=use.crops,
        )  # fmt: skip
        embeddings = F.normalize(torch.einsum("nhw,hwd->nd", inside, vectors), dim=-1)
        words = _Words(asked, against, evidence)
        return self._score(words, embeddings, logits, quality, points, features.frame_size)

    @torch.inference_mode()
    def heatmap(
        self,
        image: npt.NDArray[np.uint8],
        texts: Sequence[str] | None = None,
        negatives: Sequence[str] = (),
    ) -> npt.NDArray[np.float32]:
        """Return (T, gh, gw) probabilities of each text against the negatives, by patch."""
        asked = self._bank.texts if texts is None else tuple(texts)
        question = self._question(asked, tuple(dict.fromkeys([*self._bank.negatives, *negatives])))
        own = question.weigh(_unit_patches(self._dense(image))).own
        out: npt.NDArray[np.float32] = own.permute(2, 0, 1).contiguous().cpu().numpy()
        return out

    # -- CLIP ------------------------------------------------------------------------------------

    def _dense(self, image: npt.NDArray[np.uint8]) -> DensePass:
        side = self.settings.clip_size_px
        planes = to_input(image, (side, side), *image_statistics(self._clip.visual), self.device)
        return dense_pass(self._clip.visual, planes, self.settings.dense)

    def _question(self, texts: Sequence[str], negatives: Sequence[str]) -> Question:
        return Question(
            asked=self._bank.embed(texts).to(self.device),
            against=self._bank.embed(negatives).to(self.device),
            scale=self._clip.logit_scale.exp().float(),
            bias=self._bias,
        )

    # -- prompts ---------------------------------------------------------------------------------

    def _propose(
        self, features: Features, heat: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Prompt the decoder where it is warm.

        Returns:
            (P, 2) prompted points as fractions of the frame, (P, h, w) logits and (P,) quality.
        """
        use = self.settings
        threshold = 0.0 if use.accept_best else use.peak_threshold
        parts = []
        points, boxes = regions(heat, _region_threshold(heat, threshold))
        if len(points):
            points, boxes = points[: use.max_prompts], boxes[: use.max_prompts]
            parts.append((points, *self._decode(features, points, boxes)))
        clicks = self._clicks(heat, threshold)[: use.max_prompts]
        if len(clicks):
            parts.append((clicks, *self._decode(features, clicks, None)))
        if not parts:
            none = torch.zeros(0)
            return none, none, none
        points, logits, quality = (torch.cat(part) for part in zip(*parts, strict=True))
        return points, logits, quality

    def _clicks(self, heat: torch.Tensor, threshold: float) -> torch.Tensor:
        """Return (P, 2) points as fractions of the frame: peaks, then the grid."""
        height, width = heat.shape
        size = torch.tensor([width, height], device=heat.device)
        points = (peaks(heat, threshold).flip(1) + 0.5) / size
        if not self.settings.sweep_grid:
            return points
        return torch.cat([points, grid_points(heat, self.settings.sweep_grid, threshold)])

    def _decode(
        self, features: Features, points: torch.Tensor, boxes: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return decode_prompts(self._sam, features, points, boxes, rendered=self._rendered)

    # -- selection -------------------------------------------------------------------------------

    def _select(
        self, logits: torch.Tensor, quality: torch.Tensor, frame_size: tuple[int, int]
    ) -> list[int]:
        use = self.settings
        masks = logits > 0
        cell_px = frame_size[0] * frame_size[1] / masks[0].numel()
        area_px = masks.flatten(1).sum(1) * cell_px
        if use.accept_best:
            good = (area_px > 0).nonzero()[:, 0]
        else:
            good = ((quality >= use.min_quality) & (area_px >= use.min_area_px)).nonzero()[:, 0]
        if not len(good):
            return []
        kept = suppress(masks[good], quality[good], use.nms_iou, use.contained)
        rows: list[int] = good[kept].tolist()
        return rows[: use.accept_best] if use.accept_best else rows

    def _score(
        self,
        words: _Words,
        embeddings: torch.Tensor,
        logits: torch.Tensor,
        quality: torch.Tensor,
        points: torch.Tensor,
        frame_size: tuple[int, int],
    ) -> list[Found]:
        use = self.settings
        probability = words.evidence.probability(use.score)
        best = probability.argmax(1)
        rows = torch.arange(len(best), device=best.device)
        raw = (probability[rows, best] * quality).clamp(0, 1).sqrt()
        scores = calibrate(raw, use.calibration)
        side = min(self._sam.image_size, 256)
        fine = F.interpolate(
            logits[:, None], size=(side, side), mode="bilinear", align_corners=False
        )
        masks = (fine[:, 0] > 0).cpu().numpy()
        height, width = frame_size
        found = []
        for row in scores.argsort(descending=True, stable=True).tolist():
            score = float(scores[row])
            if (score < use.min_score and not use.accept_best) or not masks[row].any():
                continue
            x, y = points[row].tolist()
            found.append(
                Found(
                    label=words.texts[int(best[row])],
                    score=score,
                    mask=masks[row],
                    box=_box(masks[row], width, height),
                    point=(x * width, y * height),
                    embedding=embeddings[row].cpu().numpy(),
                    evidence=words.of(row),
                )
            )
        return found


@dataclass(frozen=True, slots=True)
class _Words:
    """The evidence of N masks with the words it is about."""

    texts: tuple[str, ...]
    negatives: tuple[str, ...]
    evidence: Evidence

    def of(self, row: int) -> TextEvidence:
        """Return the evidence of one mask."""
        mine = self.evidence.map(lambda part: part[row])
        return TextEvidence(
            own=dict(zip(self.texts, mine.own.tolist(), strict=True)),
            p_pos=dict(zip(self.texts, mine.p_pos.tolist(), strict=True)),
            p_neg=dict(zip(self.negatives, mine.p_neg.tolist(), strict=True)),
            p_pos_sum=float(mine.p_pos_sum),
            p_neg_sum=float(mine.p_neg_sum),
            multiplier=float(mine.multiplier),
            sigmoid=dict(zip(self.texts, mine.sigmoid.tolist(), strict=True)),
        )


def _unit_patches(dense: DensePass) -> torch.Tensor:
    """Return (rows, columns, D) unit vectors of the one image of a pass."""
    return F.normalize(dense.patches[0].float(), dim=-1)


def _coverage(logits: torch.Tensor, grid: tuple[int, int], points: torch.Tensor) -> torch.Tensor:
    """Return (N, gh, gw) weights that sum to 1: how much of a mask lies in each patch.

    A mask that covers no patch centre still weighs the patch under its point.
    """
    cover = F.interpolate((logits > 0).float()[:, None], size=grid, mode="area")[:, 0]
    height, width = grid
    rows = (points[:, 1] * height).long().clamp(0, height - 1)
    cols = (points[:, 0] * width).long().clamp(0, width - 1)
    cover[torch.arange(len(cover)), rows, cols] += 1e-3
    return cover / cover.flatten(1).sum(1)[:, None, None]


def _region_threshold(heat: torch.Tensor, threshold: float) -> float:
    """Return where regions end: halfway up to the warmest place, so that neighbours come apart."""
    return max(threshold, 0.5 * float(heat.max()))


def _box(mask: npt.NDArray[np.bool_], width: int, height: int) -> tuple[float, float, float, float]:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    across, down = width / mask.shape[1], height / mask.shape[0]
    return (
        float(cols[0] * across),
        float(rows[0] * down),
        float((cols[-1] + 1) * across),
        float((rows[-1] + 1) * down),
    )
