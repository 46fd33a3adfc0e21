"""Data sets on disk become samples: one file a layout, NumPy and Pillow only, nothing trained."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Final

from train.readers import captions, cityscapes, coco, ctc, davis, instances, ytvos
from train.readers.describe import describe
from train.readers.faults import (
    DatasetError,
    SampleError,
    require_samples,
    require_sound,
    require_usable,
)
from train.readers.samples import (
    IGNORE,
    Dataset,
    Fault,
    ImageSample,
    LabelledImage,
    Progress,
    VideoSample,
)
from train.readers.split import held_out
from train.readers.survey import Options

__all__ = [
    "FORMATS",
    "IGNORE",
    "Dataset",
    "DatasetError",
    "Fault",
    "ImageSample",
    "LabelledImage",
    "Progress",
    "SampleError",
    "VideoSample",
    "describe",
    "held_out",
    "open_dataset",
    "require_samples",
    "require_sound",
    "require_usable",
]

# In the order in which they are tried: those that many folders fit come last.
_READERS: Final[dict[str, ModuleType]] = {
    reader.NAME: reader for reader in (cityscapes, davis, ytvos, ctc, captions, coco, instances)
}
FORMATS: Final = ("auto", *_READERS)


def open_dataset(
    root: Path,
    format: str = "auto",
    *,
    split: str | None = None,
    videos: bool = False,
    frames: int | None = None,
    allow_markers: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Look through a data set once: every header and annotation is read, no image is kept.

    Args:
        root: Its folder; for `coco` also the JSON file.
        format: One of FORMATS; `auto` recognises the layout.
        split: Only this part of a set that comes in parts (`cityscapes`, `davis`, `ytvos`,
            `coco`), e.g. `train`; None for all.
        videos: `instances`: folders of frames are films, not images that stand alone.
        frames: Only the first so many frames of each film; None for all.
        allow_markers: `ctc`: cells without a mask are trained on their markers.
        progress: Called with files checked and files in all.

    Returns:
        The sound samples and every fault; `require_sound` refuses it if there are any.

    Raises:
        DatasetError: There is no such folder, format or split, or no layout was recognised.
    """
    if not root.exists():
        raise DatasetError(root, (Fault("data set", "is not there; a folder is needed"),))
    if not root.is_dir() and (format not in ("auto", coco.NAME) or root.suffix != ".json"):
        what = "is a file; accepted are folders, and a JSON file for coco"
        raise DatasetError(root, (Fault("folder", what),))
    options = Options(split, videos, frames, allow_markers, progress)
    return _reader(root, format).read(root, options)  # type: ignore[no-any-return]


def _reader(root: Path, format: str) -> ModuleType:
    if format != "auto":
        if format not in _READERS:
            known = ", ".join(FORMATS)
            raise DatasetError(root, (Fault("format", f"is {format!r}; accepted are {known}"),))
        return _READERS[format]
    for reader in _READERS.values() if root.is_dir() else (coco,):
        if reader.fits(root):
            return reader
    looked = "; ".join(f"{name}: {reader.LOOKS_FOR}" for name, reader in _READERS.items())
    raise DatasetError(root, (Fault("layout", f"is none that is known. Looked for {looked}"),))
