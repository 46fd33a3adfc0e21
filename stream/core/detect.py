"""Jobs to detections: the text detector behind the stage's face."""

from __future__ import annotations

import time

import numpy as np

from engines.build import RENDERED_PROMPTS
from engines.detector import DetectorSettings, TextDetector
from engines.errors import ModelError
from engines.features import Features
from engines.registry import calibration, check_device, default_clip, load_clip, load_sam2
from engines.texts import text_bank
from stream.config import DetectorConfig, TrackerConfig
from stream.contracts import DetectionJob, DetectionResult, Question
from stream.errors import UsageError
from stream.frame import Detection

RANDOM_WEIGHTS_ACCEPT = 4
SWEEP_OF_MICRO = 16


class DetectCore:
    """The detector stage's work on one job."""

    def __init__(
        self,
        tracker: TrackerConfig,
        config: DetectorConfig,
        question: Question,
    ) -> None:
        self._tracker = tracker
        self._config = config
        self._first = question
        self._clip = config.clip or default_clip(tracker.model)

    def prepare(self) -> None:
        """Load the models, embed the texts and run once.

        Raises:
            UsageError: A model or its weights cannot be used.
        """
        import torch

        torch.set_num_threads(self._config.threads)
        try:
            self._detector = self._load()
            image = np.zeros((64, 64, 3), dtype=np.uint8)
            self._detector.heatmap(image, self._first.texts, self._first.negatives)
        except (ModelError, ValueError) as error:
            raise UsageError(str(error)) from error

    def detect(self, job: DetectionJob) -> DetectionResult:
        """Find the objects that the texts describe in the frame of a job."""
        start_ns = time.monotonic_ns()
        size = job.image.shape[:2]
        features = Features.from_arrays(job.features, size, self._detector.device)
        asked = job.question
        found = self._detector.detect(job.image, features, asked.texts, asked.negatives)
        detections = tuple(
            Detection(
                frame_index=job.frame_index,
                label=item.label,
                score=item.score,
                mask=item.mask,
                box=item.box,
                point=item.point,
                embedding=item.embedding,
            )
            for item in found
        )
        return DetectionResult(
            job.frame_index, job.revision, detections, time.monotonic_ns() - start_ns
        )

    def _load(self) -> TextDetector:
        config = self._config
        check_device(config.device)
        sam = load_sam2(self._tracker.model, self._tracker.weights, self._tracker.image_size)
        # The tracker sends features; this process needs the prompt encoder and the decoder only.
        sam.model.image_encoder = sam.model.memory_attention = sam.model.memory_encoder = None
        clip = load_clip(self._clip, config.weights)
        micro = self._tracker.model == "micro"
        sweep = config.sweep_grid
        if sweep is None:
            sweep = SWEEP_OF_MICRO if micro else 0
        settings = DetectorSettings(
            clip_size_px=config.image_size or default_clip_size(self._clip, clip.model.visual),
            peak_threshold=config.peak_threshold,
            max_prompts=config.max_prompts,
            sweep_grid=sweep,
            one_piece=micro if self._tracker.one_piece is None else self._tracker.one_piece,
            min_quality=config.min_quality,
            nms_iou=config.nms_iou,
            contained=config.contained,
            min_score=config.min_score,
            min_area_px=config.min_area_px,
            calibration=calibration(self._tracker.model, self._clip),
            accept_best=RANDOM_WEIGHTS_ACCEPT if sam.random or clip.random else 0,
        )
        return TextDetector(
            sam.model,
            clip.model,
            text_bank(clip.model, self._clip, clip.origin),
            settings,
            rendered_prompts=self._tracker.model in RENDERED_PROMPTS,
            device=config.device,
        )


def default_clip_size(name: str, visual: object) -> int:
    """Return the side in pixels that CLIP sees: finer than it was trained with, in whole patches.

    Args:
        name: The model's name.
        visual: Its image tower.
    """
    if name == "micro":
        return 512
    patch = getattr(visual, "patch_size", (16, 16))
    side = patch[0] if isinstance(patch, tuple) else int(patch)
    wanted = 448 if side >= 32 else 336
    return round(wanted / side) * side
