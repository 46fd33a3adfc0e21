"""What a detector is told and what it finds: its settings and its results."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engines.dense import MODES, Mode
from engines.errors import ModelError
from engines.scoring import ScoreMode, require_score_mode
from engines.verification import CropSettings, VerifyMode, require_verify_mode


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
    dense: Mode = "naclip"
    """How the last block is read (`engines.dense`)."""
    score: ScoreMode = "softmax"
    """How probabilities of masks are read (`engines.scoring`); the heatmap is a softmax always."""
    logit_bias: float | None = None
    """Bias of the sigmoid; None for the model's own."""
    verify: VerifyMode = "pooled"
    """How a mask's own probabilities are found (`engines.verification`)."""
    crops: CropSettings = field(default_factory=CropSettings)
    """When and how masks are cut out and looked at again, where `verify` says so."""

    def __post_init__(self) -> None:
        """Check the choices."""
        if self.dense not in MODES:
            raise ModelError(f"dense {self.dense!r} is unknown; accepted are {', '.join(MODES)}")
        require_score_mode(self.score)
        require_verify_mode(self.verify)


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """What one mask shows, by texts and negatives; probabilities, unless a unit is named."""

    own: dict[str, float]
    """Each text's own softmax against the negatives."""
    p_pos: dict[str, float]
    """The texts' parts of one softmax over all texts and negatives."""
    p_neg: dict[str, float]
    """The negatives' parts of it."""
    p_pos_sum: float
    p_neg_sum: float
    multiplier: float
    """2.0, 1.0, 0.5 or 0.1, by the sums (`engines.scoring.semantic_multiplier`)."""
    sigmoid: dict[str, float]
    """Each text for itself, by the model's scale and bias."""


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
    evidence: TextEvidence | None = None
    """What the score was made of."""
