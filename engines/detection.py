"""What a detector is told and what it finds: its settings and its results."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engines.dense import MODES, Mode
from engines.errors import ModelError
from engines.scoring import ScoreMode, require_score_mode
from engines.verification import NO_TILES, CropSettings, VerifyMode, require_verify_mode

MOST_TILES = 8
MOST_GRID = 64


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Thresholds of the detector; probabilities unless a unit is named."""

    clip_size_px: int = 512
    """Side of the square that CLIP sees."""
    peak_threshold: float = 0.35
    max_prompts: int = 96
    finder: bool = True
    """Ask the segmenter's finder where objects are, if it has one."""
    finder_threshold: float = 0.3
    """Lowest score of a place where the segmenter's own finder tells an object."""
    sweep_grid: int = 0
    """Side of the grid of clicks laid over warm regions, beside the regions' boxes; 0 for none."""
    recall_every: int = 0
    """Every so many looks a grid of clicks is laid over the whole frame as well; 0 for never."""
    recall_grid: int = 8
    """Side of that grid."""
    tiles: int = 1
    """Tiles along each edge of the frame that CLIP sees one by one; 1 for the whole at once."""
    one_piece: bool = False
    """Keep the connected piece of a mask under its prompt only, for objects such as cells."""
    min_quality: float = 0.6
    """Lowest predicted IoU x stability x object probability."""
    nms_iou: float = 0.5
    contained: float = 0.8
    min_probability: float = 0.0
    """Lowest probability of the label alone, whatever the mask's quality; not asked of texts that
    were held against others (`engines.contrasts`)."""
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
        _require_number("tiles", self.tiles, 1, MOST_TILES)
        _require_number("recall_every", self.recall_every, 0)
        _require_number("recall_grid", self.recall_grid, 1, MOST_GRID)
        if self.tiles > 1 and self.verify.startswith("token"):
            raise ModelError(
                f"tiles {self.tiles} do not go with verify {self.verify!r}; {NO_TILES}"
            )


def _require_number(name: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        accepted = f"{least} or more" if most is None else f"{least} to {most}"
        raise ModelError(f"{name} {value} is not usable; accepted is {accepted}")


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
    exemplars: dict[str, float] = field(default_factory=dict)
    """Each exemplar against its own frame (`engines.exemplars`)."""


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


@dataclass(frozen=True, slots=True)
class Look:
    """All that was seen in one frame."""

    found: list[Found]
    """Best first."""
    embedding: npt.NDArray[np.float32]
    """(D,) unit length: the class embedding; of tiles the mean of theirs."""
    refused: dict[str, str] = field(default_factory=dict)
    """Label -> why an exemplar could not be learnt or asked for."""
