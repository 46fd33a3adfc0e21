"""Text detectors as the live stage builds them, uncalibrated, and what they see in one image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from detector_scores import Seen, pair, true_sizes_px

from engines.build import RENDERED_PROMPTS
from engines.detector import DetectorSettings, TextDetector
from engines.features import Features
from engines.finder import finder_beside
from engines.registry import (
    default_clip,
    load_clip,
    load_edges,
    load_sam2,
    load_tracker,
    refiner_path,
)
from engines.texts import text_bank
from stream.core.detect import MIN_QUALITY_OF_MICRO, SWEEP_OF_MICRO, default_clip_size
from train.micro.data import Still


class Bench:
    """Models that are loaded once; detectors that differ in their settings share them.

    Args:
        model: A SAM2 model, as of `maskcast run`.
        weights: Of it.
        clip: A CLIP model; None for the one that belongs beside `model`.
        clip_weights: Of it.
        device: A torch device.

    Raises:
        ModelError: A model or its weights cannot be used.
    """

    def __init__(
        self,
        model: str,
        weights: str | None,
        clip: str | None,
        clip_weights: str | None,
        device: str,
    ) -> None:
        self.sam2 = model
        self.device = device
        self._tracker = load_tracker(model, weights=weights, device=device)
        self._finder = finder_beside(load_sam2(model, weights).origin)
        found = refiner_path(model, weights)
        self._edges = load_edges(model, weights, device=device) if found else None
        self.clip = load_clip(clip or default_clip(model), clip_weights)
        self._bank = text_bank(self.clip.model, self.clip.name, self.clip.origin)
        self._prompts = 0
        self._tracker.model.sam_mask_decoder.register_forward_hook(self._count)

    def settings(self, **changes: Any) -> DetectorSettings:
        """Return the live stage's settings, but raw scores of which none is too low."""
        micro = self.sam2 == "micro"
        live = DetectorSettings(
            clip_size_px=default_clip_size(self.clip.name, self.clip.model.visual),
            sweep_grid=SWEEP_OF_MICRO if micro else 0,
            one_piece=micro,
            min_quality=MIN_QUALITY_OF_MICRO if micro else DetectorSettings().min_quality,
            min_score=0.0,
        )
        return replace(live, **changes)

    def detector(self, settings: DetectorSettings) -> TextDetector:
        """Return a detector; the models are shared with all others."""
        return TextDetector(
            self._tracker.model,
            self.clip.model,
            self._bank,
            settings,
            rendered_prompts=self.sam2 in RENDERED_PROMPTS,
            device=self.device,
            finder=self._finder,
            edges=self._edges,
        )

    def encode(self, image: np.ndarray) -> Features:
        """Return the features of an image, (H, W, 3) uint8 RGB."""
        return self._tracker.encode(image)

    def see(
        self, detector: TextDetector, still: Still, features: Features, texts: Sequence[str]
    ) -> Seen:
        """Detect in one image and pair with its truth; the encoder's time is not counted."""
        self._prompts = 0
        start_s = time.perf_counter()
        found = detector.detect(still.image, features, texts)
        seconds = time.perf_counter() - start_s
        pairs = pair([item.score for item in found], [f.mask for f in found], still.ids)
        sizes = true_sizes_px(still.ids, self._tracker.model.image_size)
        return Seen(still.name, still.kind, *pairs, sizes, self._prompts, seconds)

    def _count(self, _module: Any, _inputs: Any, outputs: Any) -> None:
        self._prompts += len(outputs[0])
