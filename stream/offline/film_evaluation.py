"""An evaluation of objects that are followed through films."""

from __future__ import annotations

from collections.abc import Generator

from stream.contracts import DetectorClient, DetectorCore, TrackerCore
from stream.evaluate import AnnotatedSequence
from stream.evaluate.films import FilmTally, join, joined_precision
from stream.offline.clients import InlineDetector, NoDetector
from stream.offline.evaluation import ALL, Evaluation, Point, Results, share_cores
from stream.offline.films import Followed, Follower
from stream.offline.saving import FilmSaver


class FilmEvaluation(Evaluation):
    """Objects followed through films."""

    stills = False

    def prepare(self) -> None:
        """See `Evaluation.prepare`."""
        self._films: list[FilmTally] = []
        self._next = self._tracker()
        self._detector: DetectorCore | None = None
        if self.options.prompter is None:
            self._detector = self.models.detector(self.options.config)
            self._detector.prepare()
        share_cores(self.options.config)

    def run(self, sequences: list[AnnotatedSequence]) -> Generator[str, None, None]:
        """See `Evaluation.run`."""
        for number, film in enumerate(sequences):
            tracker = self._next if number == 0 else self._tracker()
            yield from self._follow(film, tracker)

    def results(self) -> Results:
        """See `Evaluation.results`."""
        films = [film for film in self._films if film.frames]
        if not films:
            return Results(notes=self.notes)
        return Results(
            [film.group() for film in films],
            join(films, ALL),
            self.points,
            self.worst.shots(),
            [iou for film in films for iou in film.ious],
            joined_precision(films).curve() if self.options.prompter is None else None,
            self.notes,
        )

    def _tracker(self) -> TrackerCore:
        tracker = self.models.tracker(self.options.config)
        tracker.live = self.options.detect_delay is not None
        tracker.prepare()
        return tracker

    def _client(self) -> DetectorClient:
        if self._detector is None:
            return NoDetector()
        return InlineDetector(self._detector, self.options.detect_delay or 0)

    def _follow(self, film: AnnotatedSequence, tracker: TrackerCore) -> Generator[str, None, None]:
        options = self.options
        follower = Follower(
            film, tracker, self._client(), options.prompter, options.config.source.normalize
        )
        saver = FilmSaver(options.save, film.name, len(film)) if options.save else None
        tally = None if options.prompter else FilmTally(film.name)
        if tally is not None:
            self._films.append(tally)
        try:
            for step in follower:
                if saver is not None:
                    saver.add(step.objects, step.frame.ids.shape[:2])
                if tally is None:
                    tally = self._given(film, follower)
                    self._films.append(tally)
                else:
                    last = step.frame.index == len(film) - 1
                    self._judge(tally, step, last=last)
                    tally.partial = not last
                yield film.name
        finally:
            if saver is not None:
                saver.close()

    def _given(self, film: AnnotatedSequence, follower: Follower) -> FilmTally:
        """Return the tally of a film whose objects were prompted in the frame before."""
        given = {track: i for track, i in follower.given.items() if i > 0}
        # Whoever gave no mask counts, and is found nowhere.
        given |= {-1 - place: i for place, i in enumerate(follower.refused) if i > 0}
        for why in dict.fromkeys(follower.refused.values()):
            count = list(follower.refused.values()).count(why)
            self.note(
                f"{film.name}: {count} prompts were refused, their objects count as lost: {why}"
            )
        return FilmTally(film.name, given)

    def _judge(self, tally: FilmTally, step: Followed, *, last: bool) -> None:
        prompted = self.options.prompter is not None
        tally.seconds += step.seconds
        score = tally.add(step.frame.ids, step.objects, in_j=not (prompted and last))
        shown = step.frame
        self.points.append(
            Point(tally.name, shown.index, shown.name, score.true, score.found, score.quality)
        )
        self.worst.offer(
            tally.name,
            shown.index,
            score.quality,
            f"{tally.name}, frame {shown.index}",
            shown.image,
            shown.ids,
            step.objects,
        )
