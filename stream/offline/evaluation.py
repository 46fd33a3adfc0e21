"""An evaluation from its options to its figures, which are there at any time."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.config import Config
from stream.contracts import DetectorCore, TrackerCore
from stream.core import make_detector_core, make_tracker_core
from stream.evaluate import AnnotatedSequence
from stream.evaluate.average_precision import Curve
from stream.evaluate.figures import Group
from stream.offline.prompts import Prompter
from stream.offline.shots import Shot, WorstShots
from stream.offline.sight import ModelSight, Sight

ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Options:
    """What is evaluated, and how."""

    config: Config
    """As of a run; its source is not used."""
    prompter: Prompter | None = None
    """What is said about the objects; None: the configuration's texts are asked for."""
    detect_delay: int | None = None
    """Frames that an answer of the detector takes; None: as a run over a file has it."""
    zoom: int | None = None
    """Of stills, see `stream.offline.looks`."""
    save: Path | None = None


@dataclass(frozen=True, slots=True)
class Models:
    """Where the models come from; tests put fakes here."""

    tracker: Callable[[Config], TrackerCore] = make_tracker_core
    detector: Callable[[Config], DetectorCore] = make_detector_core
    sight: Callable[[Config, bool], Sight] = ModelSight


@dataclass(frozen=True, slots=True)
class Point:
    """One frame's figures."""

    group: str
    """Its film, or its kind."""
    index: int
    name: str
    true: int
    found: int
    quality: float
    """Mean J of what was prompted, panoptic quality where texts were asked for."""


@dataclass(slots=True)
class Results:
    """All that was measured so far."""

    groups: list[Group] = field(default_factory=list)
    overall: Group = field(default_factory=lambda: Group(ALL))
    points: list[Point] = field(default_factory=list)
    shots: list[Shot] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    curve: Curve | None = None
    """Of detections at IoU 0.5; None where objects were prompted."""
    notes: list[str] = field(default_factory=list)


class Evaluation(ABC):
    """Goes through annotated pictures; stop whenever you like and ask for the results.

    Args:
        options: What is wanted.
        models: Where the models come from.
    """

    stills: bool

    def __init__(self, options: Options, models: Models | None = None) -> None:
        self.options = options
        self.models = models or Models()
        self.notes: list[str] = []
        self.points: list[Point] = []
        self.worst = WorstShots(apart=not self.stills)

    @abstractmethod
    def prepare(self) -> None:
        """Load the models.

        Raises:
            UsageError: A model or its weights cannot be used.
        """

    @abstractmethod
    def run(self, sequences: list[AnnotatedSequence]) -> Generator[str, None, None]:
        """Evaluate; gives what is under way after each frame."""

    @abstractmethod
    def results(self) -> Results:
        """Return what was measured so far."""

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)


def share_cores(config: Config) -> None:
    """Let the networks use as many threads as the tracker of a run does."""
    import torch

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(config.tracker.threads or max(1, cores - config.detector.threads))
