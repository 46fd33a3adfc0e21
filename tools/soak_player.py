"""What `soak_tracker.py` plays to a tracker."""

from __future__ import annotations

import time

import numpy as np

from engines.objects import Prompt
from engines.tracker import Tracker
from stream.synth import MAX_OBJECTS, CellFilmSpec, FilmFrame, draw_frames

FILM_FRAMES = 50
CHURN_EVERY = 100
LATE_EVERY = 50
LATE_BY = 9


class Player:
    """Feeds a tracker with a film that never ends.

    Args:
        tracker: What is fed.
        objects: How many objects are tracked at any time.
        churn: Whether objects come, go and are prompted late.
    """

    def __init__(self, tracker: Tracker, objects: int, churn: bool) -> None:
        self.tracker = tracker
        self.added = objects
        self.late_prompts = 0
        side = tracker.image_size
        spec = CellFilmSpec(objects=min(objects + 4, MAX_OBJECTS), width=side, height=side, fps=10)
        # Played forth and back, so that no frame is far from the one before.
        self._film = draw_frames(spec, FILM_FRAMES)
        self._objects = objects
        self._churn = churn

    def play(self, index: int) -> tuple[int, int]:
        """Give the tracker a frame; returns the step's processor time and wall time in ns."""
        features = self.tracker.encode(self._at(index).image)
        if index == 0:
            prompts = {number: self._prompt(0, number) for number in range(self._objects)}
            self.tracker.add_objects(0, features, prompts)
        elif self._churn and index % CHURN_EVERY == 0:
            self._prompt_late(index, max(self.tracker.object_ids))
            number = self._replace()
            self.tracker.add_objects(index, features, {number: self._prompt(index, number)})
        elif self._churn and index % LATE_EVERY == 0:
            self._prompt_late(index, self._replace())
        wall, processor = time.perf_counter_ns(), time.process_time_ns()
        self.tracker.step(index, features)
        spent = time.process_time_ns() - processor, time.perf_counter_ns() - wall
        self.tracker.events()
        return spent

    def _replace(self) -> int:
        """Remove the oldest object; returns the number of the one to come."""
        self.tracker.remove_object(min(self.tracker.object_ids))
        self.added += 1
        return self.added - 1

    def _prompt_late(self, index: int, number: int) -> None:
        """Prompt an object, known or new, in a frame gone by."""
        past = index - LATE_BY
        prompt = {number: self._prompt(past, number)}
        self.tracker.add_objects(past, None, prompt, catch_up="replay")
        self.late_prompts += 1

    def _at(self, index: int) -> FilmFrame:
        turn = 2 * (len(self._film) - 1)
        place = index % turn
        return self._film[min(place, turn - place)]

    def _prompt(self, index: int, number: int) -> Prompt:
        """Return the mask or the box of one of the cells in a frame."""
        ids = self._at(index).ids
        cells = np.unique(ids[ids > 0])
        mask = ids == cells[number % len(cells)]
        if number % 2:
            return Prompt(mask=mask)
        ys, xs = np.nonzero(mask)
        return Prompt(box=(float(xs.min()), float(ys.min()), xs.max() + 1.0, ys.max() + 1.0))
