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

from engines.dense import dense_features
from engines.features import Features
from engines.images import OPENAI_MEAN, OPENAI_STD, to_input
from engines.pieces import one_piece
from engines.prompts import render_prompt
from engines.proposals import grid_points, peaks, regions, stability, suppress
from engines.texts import TextBank

CHUNK = 32
"""Prompts decoded together."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Thresholds of the detector; probabilities unless a unit is named."""

    clip_size_px: int = 512
    """Side of the square that CLIP sees."""
    peak_threshold: float = 0.35
    max_prompts: int = 96
    sweep_grid: int = 0
    """Side of the grid of clicks laid over warm regions, beside the regions' boxes; 0 for none."""
    one_piece: bool = False
    """Keep the connected piece of a mask under its prompt only, for objects such as cells."""
    min_quality: float = 0.6
    """Lowest predicted IoU x stability x object probability."""
    nms_iou: float = 0.5
    contained: float = 0.8
    min_score: float = 0.4
    min_area_px: int = 30
    """In frame pixels."""
    calibration: tuple[float, float] = (1.0, 0.0)
    """Slope and offset of Platt scaling, on the logit of the raw score; (1, 0) changes nothing."""
    accept_best: int = 0
    """Take this many best masks whatever they score: for random weights, whose scores mean
    nothing; 0 applies the thresholds."""


@dataclass(frozen=True, slots=True)
class Found:
    """One object in one frame."""

    label: str
    score: float
    mask: npt.NDArray[np.bool_]
    """(h, w) covering the whole frame."""
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in frame pixels."""
    point: tuple[float, float]
    """x, y in frame pixels: where it was prompted."""
    embedding: npt.NDArray[np.float32]
    """(D,) unit length: the mean of the dense CLIP vectors inside the mask."""


class TextDetector:
    """Finds what texts describe.

    Args:
        sam: A `SAM2Base`; only its prompt encoder and mask decoder are used.
        clip: An open_clip model with a plain ViT image tower.
        bank: The text bank of `clip`.
        settings: Thresholds.
        rendered_prompts: Whether `sam` wants prompts drawn as well (`engines.prompts`).
        device: A torch device.
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
        texts: Sequence[str],
        negatives: Sequence[str] = (),
    ) -> list[Found]:
        """Find the objects in one frame, best first.

        Args:
            image: (H, W, 3) uint8 RGB.
            features: The SAM2 features of the same frame.
            texts: What is asked for; each is weighed against the negatives on its own.
            negatives: The user's negatives, besides the bank's.
        """
        dense = self._dense(image)
        heat = self._heat(dense, texts, negatives)
        points, logits, quality = self._propose(features, heat.amax(0))
        if not len(points):
            return []
        if self.settings.one_piece:
            logits = one_piece(logits, points)
        keep = self._select(logits, quality, features.frame_size)
        if not len(keep):
            return []
        return self._score(dense, heat, texts, logits[keep], quality[keep], points[keep], features)

    @torch.inference_mode()
    def heatmap(
        self,
        image: npt.NDArray[np.uint8],
        texts: Sequence[str],
        negatives: Sequence[str] = (),
    ) -> npt.NDArray[np.float32]:
        """Return (T, gh, gw) probabilities of each text against the negatives, by patch."""
        out: npt.NDArray[np.float32] = self._heat(self._dense(image), texts, negatives).numpy()
        return out

    # -- CLIP ------------------------------------------------------------------------------------

    def _dense(self, image: npt.NDArray[np.uint8]) -> torch.Tensor:
        side = self.settings.clip_size_px
        planes = to_input(image, (side, side), OPENAI_MEAN, OPENAI_STD, self.device)
        _, dense = dense_features(self._clip.visual, planes)
        return F.normalize(dense[0].float(), dim=-1)

    def _heat(
        self, dense: torch.Tensor, texts: Sequence[str], negatives: Sequence[str]
    ) -> torch.Tensor:
        """Return (T, gh, gw): a softmax of each text against all negatives."""
        asked = self._bank.embed(texts)
        against = self._bank.embed(list(dict.fromkeys([*self._bank.default_negatives, *negatives])))
        scale = self._clip.logit_scale.exp().float()
        wanted = scale * torch.einsum("hwd,td->thw", dense, asked)
        other = torch.logsumexp(scale * torch.einsum("hwd,nd->nhw", dense, against), dim=0)
        return torch.sigmoid(wanted - other)

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
        """Return (P, h, w) logits of the best mask and (P,) quality of each prompt, in chunks."""
        parts = [
            self._decode_chunk(
                features, points[i : i + CHUNK], None if boxes is None else boxes[i : i + CHUNK]
            )
            for i in range(0, len(points), CHUNK)
        ]
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def _decode_chunk(
        self, features: Features, points: torch.Tensor, boxes: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sam, count, side = self._sam, len(points), self._sam.image_size
        clicks = (points * side)[:, None]
        coords, labels = clicks, torch.ones(count, 1, dtype=torch.int32, device=self.device)
        corners = None
        if boxes is not None:
            corners = boxes * side
            coords = torch.cat([corners.view(count, 2, 2), clicks], dim=1)
            labels = torch.tensor([[2, 3, 1]], dtype=torch.int32, device=self.device)
            labels = labels.expand(count, -1)
        drawn = None
        if self._rendered:
            drawn = render_prompt(side, clicks, labels[:, -1:], corners)
        sparse, dense = sam.sam_prompt_encoder(points=(coords, labels), boxes=None, masks=drawn)
        pix = features.top + sam.no_mem_embed.view(1, -1, 1, 1)
        logits, ious, _, scores = sam.sam_mask_decoder(
            image_embeddings=pix.expand(count, -1, -1, -1),
            image_pe=sam.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            # A box says how large the object is; a click alone may mean a part or the whole.
            multimask_output=boxes is None,
            repeat_image=False,
            high_res_features=[f.expand(count, -1, -1, -1) for f in features.high_res],
        )
        rank = ious * stability(logits)
        best = rank.argmax(1)
        rows = torch.arange(count, device=self.device)
        quality = rank[rows, best] * torch.sigmoid(scores[:, 0])
        return logits[rows, best].float(), quality.float()

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
        dense: torch.Tensor,
        heat: torch.Tensor,
        texts: Sequence[str],
        logits: torch.Tensor,
        quality: torch.Tensor,
        points: torch.Tensor,
        features: Features,
    ) -> list[Found]:
        use = self.settings
        inside = _coverage(logits, (heat.shape[-2], heat.shape[-1]), points)
        probability = torch.einsum("nhw,thw->nt", inside, heat)
        embeddings = F.normalize(torch.einsum("nhw,hwd->nd", inside, dense), dim=-1)
        best = probability.argmax(1)
        rows = torch.arange(len(best), device=best.device)
        raw = (probability[rows, best] * quality).clamp(0, 1).sqrt()
        scores = calibrate(raw, use.calibration)
        side = min(self._sam.image_size, 256)
        fine = F.interpolate(
            logits[:, None], size=(side, side), mode="bilinear", align_corners=False
        )
        masks = (fine[:, 0] > 0).cpu().numpy()
        height, width = features.frame_size
        found = []
        for row in scores.argsort(descending=True, stable=True).tolist():
            score = float(scores[row])
            if (score < use.min_score and not use.accept_best) or not masks[row].any():
                continue
            x, y = points[row].tolist()
            found.append(
                Found(
                    label=texts[int(best[row])],
                    score=score,
                    mask=masks[row],
                    box=_box(masks[row], width, height),
                    point=(x * width, y * height),
                    embedding=embeddings[row].cpu().numpy(),
                )
            )
        return found


def calibrate(raw: torch.Tensor, calibration: tuple[float, float]) -> torch.Tensor:
    """Turn raw scores into probabilities of being right (Platt 1999).

    Args:
        raw: (N,) in [0, 1].
        calibration: Slope and offset on the logit.
    """
    slope, offset = calibration
    return torch.sigmoid(slope * torch.logit(raw, eps=1e-4) + offset)


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
