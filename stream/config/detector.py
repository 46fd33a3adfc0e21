"""The CLIP side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from stream.config.kinds import Backend, Fraction, Seconds, Section


def _rising(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] > band[1]:
        raise ValueError("it should be [low, high] with low <= high")
    return band


def _one_pass(tiles: int, info: ValidationInfo) -> int:
    verify = str(info.data.get("verify", ""))
    if tiles > 1 and verify.startswith("token"):
        raise ValueError(f"beside verify {verify} it should be 1; verify pooled and crop take more")
    return tiles


class DetectorConfig(Section):
    """The CLIP side."""

    clip: str | None = None
    """`micro`, or an open_clip name; null: what belongs beside the tracker's model, `micro` beside
    `micro` and `ViT-B-32/laion2b_s34b_b79k` beside the official ones."""
    weights: str | None = None
    backend: Backend = "auto"
    """As `tracker.backend`, for CLIP and for the mask decoder that the detector runs."""
    engines: Path | None = None
    """Folder with CLIP's exported towers; null: where `maskcast export` puts them."""
    device: str = "cpu"
    threads: Annotated[int, Field(ge=1)] = 1
    niceness: Annotated[int, Field(ge=0, le=19)] = 0
    """How far its process gives way to all others, other programs too; 0: not at all."""
    every_n_frames: Annotated[int, Field(ge=1)] = 8
    """Processed frames from one look to the next."""
    every_s: Seconds | None = None
    """Stream time from one look to the next, instead of frames."""
    adaptive: bool = False
    """Look more often while something is uncertain, less often while nothing changes."""
    every_n_unsure: Annotated[int, Field(ge=1)] = 3
    """`adaptive`: with tentative tracks, and after a cut."""
    every_n_still: Annotated[int, Field(ge=1)] = 16
    """`adaptive`: while all tracks are confirmed and nothing changes."""
    still_cosine: Fraction = 0.98
    """Cosine of the last two looks' image embeddings above which nothing changes."""
    still_events: Annotated[int, Field(ge=1)] = 2
    """Looks in a row that found nothing but what was known, where there are no such embeddings."""
    image_size: Annotated[int, Field(ge=64, multiple_of=16)] | None = None
    """Side of the square that CLIP sees; null: 512 for `micro`, else finer than it was trained."""
    dense: Literal["naclip", "clearclip", "maskclip", "vanilla"] = "naclip"
    """How CLIP's last block is read for its patches."""
    score: Literal["softmax", "multiplier", "sigmoid"] = "softmax"
    """How similarities become the probabilities that masks are scored by."""
    logit_bias: float | None = None
    """Bias of the sigmoid; null: the model's own, without which `sigmoid` is refused."""
    verify: Literal["pooled", "token", "crop", "token+crop"] | None = None
    """How a mask is looked at: the mean of its patches, a class token for each mask, and crops of
    the doubtful ones; null: `crop` for `micro`, of all masks unless `crop_band` says else, and
    `pooled` for the others."""
    crop_style: Literal["grey", "raw", "soft"] = "grey"
    """What a crop shows outside of its mask: nothing, all, or a part."""
    crop_band: Annotated[tuple[Fraction, Fraction], AfterValidator(_rising)] | None = None
    """Probabilities between which a mask is doubtful; [0, 1]: all are; null: that for `micro`, and
    [0.35, 0.65] for the others."""
    crop_most: Annotated[int, Field(ge=0)] | None = None
    """Crops of one look, the most doubtful first; null: 32 for `micro`, 8 for the others."""
    crop_weight: Fraction | None = None
    """Part of the crop in the probability; 1: it decides alone; null: 0.75 for `micro`, 0.5 for the
    others."""
    refine: bool | None = None
    """Draw the edges of masks again before crops are cut by them, and before they are answered;
    null: where the tracker's weights have a refiner, as `micro`'s have."""
    tiles: Annotated[int, Field(ge=1, le=8), AfterValidator(_one_pass)] = 1
    """Tiles along each edge that CLIP sees one by one, for small objects; costs tiles x tiles
    passes. Beside more than 1, `verify` is pooled or crop."""
    peak_threshold: Fraction = 0.35
    max_prompts: Annotated[int, Field(ge=1)] = 96
    finder: bool = True
    """Ask the finder where objects are, if one lies beside the tracker's weights, as `micro`'s."""
    finder_threshold: Fraction = 0.3
    """Lowest score of a place that it tells."""
    sweep_grid: Annotated[int, Field(ge=0, le=64)] | None = None
    """Side of the grid of clicks laid over warm regions, beside the regions' boxes and the peaks;
    0 for none; null: 16 for `micro`, 0 else."""
    recall_every: Annotated[int, Field(ge=0)] = 0
    """Every so many looks a grid of clicks lies over the whole frame, warm or not; 0: never."""
    recall_grid: Annotated[int, Field(ge=1, le=64)] = 8
    """Side of that grid."""
    min_quality: Fraction | None = None
    """Lowest predicted IoU x stability x object probability of a mask, where the finder told the
    place times the root of its score; null: 0.3 for `micro`, 0.6 for the others."""
    nms_iou: Fraction = 0.5
    contained: Fraction = 0.8
    min_probability: Fraction | None = None
    """Lowest probability of a mask's label, whatever the mask's quality; null: 0.72 for `micro`'s
    CLIP, 0 for the others, whose probabilities depend on how many negatives there are. Not asked of
    coloured shapes, which `micro` holds against other colours and shapes."""
    min_score: Fraction = 0.4
    min_area_px: Annotated[int, Field(ge=0)] = 30
