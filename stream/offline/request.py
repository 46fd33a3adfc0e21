"""What is asked of an evaluation: which pictures, what is said about them, and how."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stream.errors import UsageError
from stream.evaluate import AnnotatedSequence, find_sequences
from stream.evaluate.aside import is_set_aside

if TYPE_CHECKING:
    from stream.offline.document import About
    from stream.offline.evaluation import Options

AUTO: Final = "auto"
LEAST_FRAMES: Final = 3
"""Of a film whose first frame is prompted."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command line that do not belong to a run; None: not given."""

    folder: Path
    stills: bool = False
    texts: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    prompt: str | None = None
    zoom: str | None = None
    detect_delay: int | None = None
    frames: int | None = None
    held_out_percent: int | None = None
    split_prefix: str | None = None

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            UsageError: Two options do not go together.
        """
        if bool(self.texts) == (self.prompt is not None):
            raise UsageError("give either --text or --prompt, and not both")
        if self.prompt is not None and (self.negatives or self.detect_delay is not None):
            raise UsageError("--negative and --detect-delay go with --text, not with --prompt")
        if self.stills and self.prompt == "first-mask":
            raise UsageError(
                "--stills with --prompt first-mask: the mask would be the answer; accepted are "
                "first-box, first-click and boxes:FILE"
            )
        if self.stills and self.detect_delay is not None:
            raise UsageError("--detect-delay goes with sequences, not with --stills")
        if not self.stills and (self.zoom is not None or self.held_out_percent is not None):
            raise UsageError("--zoom and --only-held-out go with --stills")
        if self.split_prefix is not None and self.held_out_percent is None:
            raise UsageError("--split-prefix goes with --only-held-out PERCENT")

    @property
    def takes_some(self) -> bool:
        """Whether pictures of the folder may be left out."""
        return self.frames is not None or self.held_out_percent is not None

    def sequences(self) -> list[AnnotatedSequence]:
        """Find the pictures and check them.

        Raises:
            UsageError: A file is not good, none is held out, or a film is too short.
        """
        percent = self.held_out_percent
        prefix = self.split_prefix or self.folder.resolve().name

        def held_out(stem: str) -> bool:
            return percent is None or is_set_aside(f"{prefix}/{stem}", percent)

        found = find_sequences(self.folder, frames=self.frames, stills=self.stills, wanted=held_out)
        if not found:
            raise UsageError(
                f"{self.folder}: none of its images is among the {percent} % that are set aside "
                f"under the prefix {prefix!r}; give another --split-prefix or a larger share"
            )
        short = [film for film in found if len(film) < LEAST_FRAMES]
        if short and self.prompt is not None and not self.stills:
            raise UsageError(
                f"{short[0].name}: has {len(short[0])} frames; --prompt needs {LEAST_FRAMES}, as J "
                "leaves out the first and the last"
            )
        return found

    def about(self, options: Options, sequences: list[AnnotatedSequence]) -> About:
        """Return what is measured, of what, with what."""
        # The models' libraries take seconds to load, and a wrong option is to be said at once.
        from stream.offline import provenance
        from stream.offline.document import About

        config = options.config
        texts = options.prompter is None
        sections = config.model_dump(mode="json", include={"tracker", "detector", "lifecycle"})
        return About(
            command=["maskcast", *sys.argv[1:]],
            data={
                "name": self.folder.resolve().name,
                "stills": self.stills,
                "sequences": len(sequences),
                "frames": sum(map(len, sequences)),
                "only_held_out": self.held_out_percent,
                "zoom": (self.zoom or AUTO) if self.stills else None,
                "detect_delay": None if self.stills else options.detect_delay,
            },
            question={
                "texts": config.texts if texts else [],
                "negatives": config.negatives if texts else [],
                "prompt": self.prompt,
            },
            models=provenance.models(config, texts),
            versions=provenance.versions(),
            machine=provenance.machine(),
            config={**sections, "normalize": config.source.normalize.model_dump(mode="json")},
        )
