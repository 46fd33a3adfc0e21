"""Jobs to detections: the text detector behind the stage's face."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from engines.backends import Runner, Running
from engines.build import RENDERED_PROMPTS
from engines.calibration import calibration
from engines.detector import DetectorSettings, Found, Shown, TextDetector
from engines.errors import ModelError
from engines.features import Features
from engines.finder import finder_beside
from engines.lanes import Lane
from engines.registry import (
    check_device,
    clip_engines,
    default_clip,
    load_clip,
    load_sam2,
    sam2_engines,
)
from engines.texts import text_bank
from engines.verification import MICRO_CROPS, CropSettings
from stream.config import DetectorConfig, TrackerConfig
from stream.contracts import DetectionJob, DetectionResult, Question
from stream.core import knobs
from stream.core.gpu import GpuGauge
from stream.errors import UsageError
from stream.frame import Detection

RANDOM_WEIGHTS_ACCEPT = 4
SWEEP_OF_MICRO = 16
MIN_QUALITY_OF_MICRO = 0.3
MIN_PROBABILITY_OF_MICRO = 0.72
ANYTHING = "object"


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
        self._gpu = GpuGauge(config.device)

    def prepare(self) -> None:
        """Load the models, embed the texts and run once.

        Raises:
            UsageError: A model or its weights cannot be used.
        """
        torch.set_num_threads(self._config.threads)
        try:
            check_device(self._config.device)
            # Tracking comes first, wherever both share a context of the card.
            self._lane = Lane(torch.device(self._config.device), "low")
            with self._lane():
                self._warm_up()
        except (ModelError, ValueError) as error:
            raise UsageError(str(error)) from error

    def detect(self, job: DetectionJob) -> DetectionResult:
        """Learn what a job shows, find what its question asks for and score what is known."""
        with self._lane():
            return self._detect(job)

    def _warm_up(self) -> None:
        self._detector = self._load()
        image = np.zeros((64, 64, 3), dtype=np.uint8)
        self._detector.heatmap(image, self._first.texts or (ANYTHING,), self._first.negatives)
        self._detector.warm_up()

    def _detect(self, job: DetectionJob) -> DetectionResult:
        start_ns = time.monotonic_ns()
        size = job.image.shape[:2]
        features = Features.from_arrays(job.features, size, self._detector.device)
        asked = job.question
        look = self._detector.look(
            job.image,
            features,
            asked.texts,
            asked.negatives,
            exemplars=asked.exemplars,
            shown=[Shown(item.label, item.box) for item in job.shown],
        )
        scores = None
        if job.known is not None:
            scores = self._detector.describe(
                job.known, asked.texts, asked.negatives, asked.exemplars
            )
        return DetectionResult(
            job.frame_index,
            job.revision,
            tuple(_detection(job.frame_index, item) for item in look.found),
            time.monotonic_ns() - start_ns,
            look.embedding,
            scores,
            look.refused,
        )

    def report(self) -> dict[str, Any]:
        """Return what it uses of a GPU; None without one."""
        return {"gpu": self._gpu.read()}

    def _load(self) -> TextDetector:
        config = self._config
        sam = load_sam2(self._tracker.model, self._tracker.weights, self._tracker.image_size)
        # The tracker sends features; this process needs the prompt encoder and the decoder only.
        sam.model.image_encoder = sam.model.memory_attention = sam.model.memory_encoder = None
        clip = load_clip(self._clip, config.weights)
        side_px = config.image_size or default_clip_size(self._clip, clip.model.visual)
        how = Running(config.device, config.threads)
        # Exported towers keep to themselves what a class token for each mask needs.
        by_token = config.backend == "auto" and (config.verify or "").startswith("token")
        tower_backend = "torch" if by_token else config.backend
        decoder = sam2_engines(
            sam, config.backend, "auto", how, self._tracker.engines, only=("mask_decoder",)
        )
        towers = clip_engines(clip, side_px, config.dense, tower_backend, how, config.engines)
        runners = {**(decoder.runners or {}), **(towers.runners or {})}
        text = runners.get("text_tower")
        settings = replace(
            detector_settings(self._tracker, config, side_px),
            calibration=calibration(self._tracker.model, self._clip, clip.origin),
            accept_best=RANDOM_WEIGHTS_ACCEPT if sam.random or clip.random else 0,
        )
        return TextDetector(
            sam.model,
            clip.model,
            text_bank(clip.model, self._clip, clip.origin, encode=_encoder(text) if text else None),
            settings,
            rendered_prompts=self._tracker.model in RENDERED_PROMPTS,
            device=config.device,
            runners=runners,
            finder=finder_beside(sam.origin) if config.finder else None,
            edges=knobs.edges(self._tracker, config.refine, config.device),
            precision=self._tracker.precision,
        )


def _encoder(run: Runner) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tokens: run({"tokens": tokens})["vectors"]


def detector_settings(
    tracker: TrackerConfig, config: DetectorConfig, clip_size_px: int
) -> DetectorSettings:
    """Return what a configuration says of the detector.

    Args:
        tracker: Its model says what null means.
        config: The detector's.
        clip_size_px: Side of the square that CLIP sees.

    Returns:
        Settings without calibration, for weights that are not random.
    """
    micro = tracker.model == "micro"
    sweep = config.sweep_grid
    own_clip = (config.clip or default_clip(tracker.model)) == "micro"
    usual = MICRO_CROPS if own_clip else CropSettings()
    return DetectorSettings(
        clip_size_px=clip_size_px,
        peak_threshold=config.peak_threshold,
        max_prompts=config.max_prompts,
        finder=config.finder,
        finder_threshold=config.finder_threshold,
        sweep_grid=(SWEEP_OF_MICRO if micro else 0) if sweep is None else sweep,
        recall_every=config.recall_every,
        recall_grid=config.recall_grid,
        tiles=config.tiles,
        one_piece=micro if tracker.one_piece is None else tracker.one_piece,
        min_quality=_least_quality(config, micro),
        nms_iou=config.nms_iou,
        contained=config.contained,
        min_probability=(MIN_PROBABILITY_OF_MICRO if own_clip else 0.0)
        if config.min_probability is None
        else config.min_probability,
        min_score=config.min_score,
        min_area_px=config.min_area_px,
        dense=config.dense,
        score=config.score,
        logit_bias=config.logit_bias,
        verify=config.verify or ("crop" if own_clip else "pooled"),
        crops=CropSettings(
            style=config.crop_style,
            band=config.crop_band or usual.band,
            most=usual.most if config.crop_most is None else config.crop_most,
            weight=usual.weight if config.crop_weight is None else config.crop_weight,
        ),
    )


def _least_quality(config: DetectorConfig, micro: bool) -> float:
    if config.min_quality is not None:
        return config.min_quality
    return MIN_QUALITY_OF_MICRO if micro else DetectorSettings().min_quality


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


def _detection(frame_index: int, item: Found) -> Detection:
    return Detection(
        frame_index=frame_index,
        label=item.label,
        score=item.score,
        mask=item.mask,
        box=item.box,
        point=item.point,
        embedding=item.embedding,
    )
