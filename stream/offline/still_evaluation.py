"""An evaluation of images that stand alone."""

from __future__ import annotations

import time
from collections.abc import Generator

from stream.evaluate import AnnotatedFrame, AnnotatedSequence
from stream.evaluate.stills import StillTally
from stream.frame import TrackedObject
from stream.offline.evaluation import ALL, Evaluation, Models, Options, Point, Results, share_cores
from stream.offline.looks import find_texts, segment_hints
from stream.offline.prompts import Hint
from stream.offline.saving import save_still


class StillEvaluation(Evaluation):
    """Images that stand alone.

    Args:
        options: What is wanted.
        models: Where the models come from.
        kinds: Name of an image -> its kind; figures are given for each.
    """

    stills = True

    def __init__(
        self,
        options: Options,
        models: Models | None = None,
        kinds: dict[str, str] | None = None,
    ) -> None:
        super().__init__(options, models)
        self._kinds = kinds or {}
        prompted = options.prompter is not None
        self._all = StillTally(ALL, prompted)
        self._by_kind: dict[str, StillTally] = {}

    def prepare(self) -> None:
        """See `Evaluation.prepare`."""
        self._sight = self.models.sight(self.options.config, self.options.prompter is None)
        share_cores(self.options.config)

    def run(self, sequences: list[AnnotatedSequence]) -> Generator[str, None, None]:
        """See `Evaluation.run`."""
        several = len(sequences) > 1
        for film in sequences:
            for shown in film.frames(self.options.config.source.normalize):
                name = f"{film.name}/{shown.name}" if several else shown.name
                kind = self._kinds.get(shown.name, film.name if several else "")
                self._look(shown, name, kind)
                yield name

    def results(self) -> Results:
        """See `Evaluation.results`."""
        if not self._all.images:
            return Results(notes=self.notes)
        kinds = [self._by_kind[kind] for kind in sorted(self._by_kind)]
        return Results(
            [tally.group() for tally in kinds],
            self._all.group(),
            self.points,
            self.worst.shots(),
            self._all.ious,
            None if self._all.prompted else self._all.curve(),
            self.notes,
        )

    def _look(self, shown: AnnotatedFrame, name: str, kind: str) -> None:
        options = self.options
        hints = None
        if options.prompter is not None:
            hints = options.prompter.hints(shown.ids, name, shown.name)
        start_s = time.perf_counter()
        objects = self._find(shown) if hints is None else self._segment(shown, hints)
        seconds = time.perf_counter() - start_s
        tallies = [self._all]
        if kind:
            tallies.append(self._by_kind.setdefault(kind, StillTally(kind, self._all.prompted)))
        for tally in tallies:
            score = tally.add(shown.ids, objects, seconds, None if hints is None else list(hints))
        self.points.append(
            Point(kind, len(self.points), name, score.true, score.found, score.quality)
        )
        self.worst.offer(name, 0, score.quality, name, shown.image, shown.ids, objects)
        if options.save is not None:
            save_still(options.save, name, objects, shown.ids.shape[:2])

    def _find(self, shown: AnnotatedFrame) -> list[TrackedObject]:
        detector = self.options.config.detector
        return find_texts(
            self._sight,
            shown.image,
            self.options.zoom,
            nms_iou=detector.nms_iou,
            contained=detector.contained,
        )

    def _segment(self, shown: AnnotatedFrame, hints: dict[int, Hint]) -> list[TrackedObject]:
        return segment_hints(self._sight, shown.image, hints, self.options.zoom)
