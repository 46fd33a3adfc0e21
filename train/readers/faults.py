"""Errors of data sets: a whole list of faults, or one file that went bad while training."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from train.readers.samples import Dataset, Fault

SHOWN_FAULTS: Final = 20


class DatasetError(ValueError):
    """A data set cannot be used as it lies there.

    Attributes:
        root: The data set's folder or file.
        faults: Every fault; the message, one line, shows the first 20 and counts the rest.
    """

    def __init__(self, root: Path, faults: tuple[Fault, ...], hint: str = "") -> None:
        self.root = root
        self.faults = faults
        shown = "; ".join(str(fault) for fault in faults[:SHOWN_FAULTS])
        more = len(faults) - SHOWN_FAULTS
        message = f"{root}: {shown}" + (f"; and {more} more" if more > 0 else "")
        message += f"; {hint}" if hint else ""
        super().__init__(" ".join(message.split()))


class SampleError(ValueError):
    """One file cannot be read; it was missing or bad, or went bad after the data set was checked.

    Attributes:
        path: The file.
        what: What is wrong with it.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what
        super().__init__(f"{path}: {what}")

    def __reduce__(self) -> tuple[type[SampleError], tuple[Path, str]]:
        # Errors of worker processes are rebuilt from the arguments, not from the message.
        return type(self), (self.path, self.what)


def require_sound(dataset: Dataset) -> None:
    """Refuse a data set that has any fault, or nothing to train on.

    Raises:
        DatasetError: It has.
    """
    if dataset.faults:
        raise DatasetError(dataset.root, dataset.faults)
    require_samples(dataset)


def require_samples(dataset: Dataset) -> None:
    """Refuse a data set without a single sound sample, or without an object or a caption.

    Raises:
        DatasetError: It has none; the faults say why.
    """
    if not _holds_something(dataset):
        raise DatasetError(
            dataset.root, dataset.faults or (Fault(dataset.format, "holds no images"),)
        )


def _holds_something(dataset: Dataset) -> bool:
    """Whether there are samples, and anything in them to learn."""
    known = dataset.counts.objects or dataset.counts.captions
    return bool(known and (dataset.images or dataset.videos))


def require_usable(dataset: Dataset, skip_faulty: bool) -> None:
    """Refuse what a training cannot use, and say where leaving things out would help.

    Args:
        dataset: what was opened.
        skip_faulty: whether the sound samples of a faulty data set are enough.

    Raises:
        DatasetError: It cannot be used.
    """
    if skip_faulty:
        require_samples(dataset)
        return
    try:
        require_sound(dataset)
    except DatasetError as error:
        if _holds_something(dataset):
            raise DatasetError(
                error.root, error.faults, "--skip-faulty trains on the rest"
            ) from None
        raise
