"""Which slope and offset turn a pair's raw scores into probabilities, and where they are kept.

The micro models bring theirs along; others have a `maskcast_calibration.json` beside the weights of
CLIP, which `tools/fit_platt.py` fits and writes. Without one raw scores stay as they are.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from engines.checkpoint import RANDOM
from engines.errors import ModelError

CALIBRATION_FILE = "maskcast_calibration.json"
PACKAGED = Path(__file__).parent / "weights" / "micro_calibration.json"
NONE = (1.0, 0.0)
REFIT = "fit it anew with tools/fit_platt.py, or remove it"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling (Platt 1999) of one pair of models, and what it was fitted on."""

    slope: float
    offset: float
    sam2: str
    clip: str
    detections: int
    right: int
    ece_before: float
    """Expected calibration error of the raw scores, on what the fit was judged by."""
    ece_after: float

    def write(self, path: Path) -> None:
        """Write the file; an old one is replaced as a whole.

        Raises:
            OSError: The folder is not there or not writable.
        """
        half = path.with_name(path.name + ".part")
        half.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n", "utf-8")
        half.replace(path)


def read_calibration(path: Path) -> Calibration:
    """Read a file that `Calibration.write` made.

    Raises:
        ModelError: It is not there, damaged, or its slope would turn the order of scores round.
    """
    try:
        fields = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {REFIT}") from error
    except ValueError as error:
        raise ModelError(f"{path}: is no JSON ({error}); {REFIT}") from error
    if not isinstance(fields, dict):
        raise ModelError(f"{path}: holds no JSON object; {REFIT}")
    found = Calibration(
        slope=_number(fields, "slope", path),
        offset=_number(fields, "offset", path),
        sam2=_name(fields, "sam2", path),
        clip=_name(fields, "clip", path),
        detections=int(_number(fields, "detections", path)),
        right=int(_number(fields, "right", path)),
        ece_before=_number(fields, "ece_before", path),
        ece_after=_number(fields, "ece_after", path),
    )
    if found.slope <= 0:
        raise ModelError(f"{path}: slope {found.slope} is not above 0; {REFIT}")
    return found


def calibration(sam2: str, clip: str, clip_origin: str | None = None) -> tuple[float, float]:
    """Return slope and offset of the scores of a pair of models.

    Says in the log when there are none, so that scores are uncalibrated.

    Args:
        sam2: Name of the SAM2 model.
        clip: Name of the CLIP model.
        clip_origin: Where its weights came from, as `Loaded.origin` says; None for its default.

    Returns:
        (1, 0), which changes nothing, where none were fitted for this pair.

    Raises:
        ModelError: The file is damaged, or that of the micro models is missing.
    """
    if clip_origin is not None and clip_origin.startswith(RANDOM):
        return NONE  # random weights' scores mean nothing, calibrated or not
    path = calibration_path(clip, clip_origin)
    if path is None or (path != PACKAGED and not path.is_file()):
        _say("scores are uncalibrated: no calibration lies beside the CLIP weights", sam2, clip)
        return NONE
    if path == PACKAGED and not path.is_file():
        raise ModelError(f"{path}: the calibration of the micro models is missing; reinstall")
    found = read_calibration(path)
    if (found.sam2, found.clip) != (sam2, clip):
        _say(f"scores are uncalibrated: {path} is for {found.sam2} with {found.clip}", sam2, clip)
        return NONE
    return found.slope, found.offset


def calibration_path(clip: str, clip_origin: str | None = None) -> Path | None:
    """Return where a CLIP model's calibration lies, if it has one; None where nobody can know."""
    if clip_origin is None:
        return PACKAGED if clip == "micro" else None
    folder = Path(clip_origin).parent
    return PACKAGED if folder == PACKAGED.parent else folder / CALIBRATION_FILE


def _say(what: str, sam2: str, clip: str) -> None:
    structlog.get_logger().warning(what, sam2=sam2, clip=clip, fit="tools/fit_platt.py")


def _number(fields: dict[str, object], key: str, path: Path) -> float:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelError(f"{path}: {key} is {value!r}, not a finite number; {REFIT}")
    return float(value)


def _name(fields: dict[str, object], key: str, path: Path) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise ModelError(f"{path}: {key} is {value!r}, not the name of a model; {REFIT}")
    return value
