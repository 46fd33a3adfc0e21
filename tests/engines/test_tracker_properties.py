"""Whatever happens in whatever order: each object is tracked as if it were alone and nothing late.

Random schedules run through the tracker, which batches, bounds and caches, and through
`tests.support.reference`, which does none of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engines.features import Features
from engines.objects import ObjectMask, Prompt
from engines.settings import Limits
from engines.tracker import Tracker
from tests.support.official import build_official, make_sensitive
from tests.support.parity import (
    COUNT,
    COVERED,
    assert_same,
    at,
    box,
    click,
    film,
    mask,
    one_thread,
)
from tests.support.reference import Reference

pytestmark = pytest.mark.timeout(300)
SIDE = 64


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    with one_thread():
        yield


@cache
def small() -> tuple[Any, dict[int, Any], list[Features]]:
    """A small model, and a film encoded for the reference and for the tracker."""
    model = build_official("micro", SIDE)
    frames = film(SIDE)
    prompts = [make(SIDE) for make in (click, box, mask)]
    # A candidate that always wins: near ties would be decided by the last bit of a sum.
    encoded = make_sensitive(model, frames, COVERED, prompts, competing=False)
    tracker = Tracker(model)
    return model, encoded, [tracker.encode(frame) for frame in frames]


def beside(image_size: int, index: int) -> Prompt:
    """A click on the disc and one beside it."""
    x, y = at(image_size, index)
    return Prompt(points=[(x, y), (0.8 * image_size, 0.2 * image_size)], labels=[1, 0])


def nothing(image_size: int, index: int) -> Prompt:
    """A mask that says that the object is not there."""
    return Prompt(mask=np.zeros((image_size, image_size), dtype=bool))


KINDS = {"click": click, "beside": beside, "box": box, "mask": mask, "nothing": nothing}


class Act(NamedTuple):
    """Something is done, and then some frames are stepped."""

    what: str
    """`prompt`, `remove` or `reset`."""
    obj_id: int
    kind: str
    back: int
    """Which frame is prompted: -1 the next one, 0 the last one, 1 the one before it."""
    catch_up: str
    keep_points: bool
    steps: tuple[int, ...]
    """How far each step goes: 1, or 2 where a frame is lost."""


ACTS = st.builds(
    Act,
    what=st.sampled_from(["prompt"] * 8 + ["remove", "reset"]),
    obj_id=st.integers(0, 3),
    kind=st.sampled_from(["click", "click", "beside", "box", "mask", "nothing"]),
    back=st.integers(-1, 6),
    catch_up=st.sampled_from(["replay", "jump"]),
    keep_points=st.booleans(),
    steps=st.lists(st.sampled_from([1, 1, 1, 2]), max_size=3).map(tuple),
)


@dataclass
class Stream:
    """A tracker and a reference for each object, fed the same."""

    limits: Limits
    correct_as_conditioning: bool
    stepped: list[int] = field(default_factory=list)
    references: dict[int, Reference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model, self.encoded, self.features = small()
        self.model.memory_temporal_stride_for_eval = self.limits.stride
        self.tracker = Tracker(
            self.model, limits=self.limits, correct_as_conditioning=self.correct_as_conditioning
        )

    def act(self, act: Act) -> None:
        """Do it on both sides, and compare."""
        if act.what == "reset":
            self.tracker.reset()
            self.references.clear()
            self.stepped.clear()
        elif act.what == "remove":
            self.tracker.remove_object(act.obj_id)
            self.references.pop(act.obj_id, None)
        else:
            self.prompt(act)
        for far in act.steps:
            following = (self.stepped[-1] if self.stepped else -1) + 1
            # A frame that was prompted ahead is not lost.
            lost = far > 1 and not any(r.is_prompted(following) for r in self.references.values())
            self.step(following + lost)

    def prompt(self, act: Act) -> None:
        """Prompt one object."""
        if act.back < len(self.stepped) and act.back >= 0:
            index = self.stepped[-1 - act.back]
        else:
            index = self.stepped[-1] + 1 if self.stepped else 0
        if index >= COUNT:
            return
        prompt = KINDS[act.kind](SIDE, index)
        clear = not (act.keep_points and prompt.points)
        late = bool(self.stepped) and index < self.stepped[-1]
        replay = [i for i in self.stepped if i > index] if late and act.catch_up == "replay" else []
        reference = self.references.setdefault(
            act.obj_id,
            Reference(self.model, self.encoded, self.limits, self.correct_as_conditioning),
        )
        expected = reference.prompt(index, prompt, clear_old_points=clear, replay=replay)
        ours = self.tracker.add_objects(
            index,
            None if late else self.features[index],
            {act.obj_id: prompt},
            clear_old_points=clear,
            catch_up=act.catch_up,
        )
        assert_same(ours[act.obj_id], expected, f"{act.kind} in frame {index}")

    def step(self, index: int) -> None:
        """Step all objects through one frame."""
        if index >= COUNT:
            return
        results = self.tracker.step(index, self.features[index])
        self.stepped.append(index)
        assert sorted(results) == sorted(self.references)
        for obj_id, reference in self.references.items():
            assert_same(results[obj_id], reference.step(index), f"object {obj_id}, frame {index}")


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking would take minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    acts=st.lists(ACTS, min_size=3, max_size=10),
    limits=st.builds(
        Limits,
        conditioning=st.sampled_from([4, 4, 2, None]),
        stride=st.sampled_from([1, 1, 2]),
    ),
    correct_as_conditioning=st.sampled_from([True, True, False]),
)
def test_any_schedule_gives_what_the_reference_gives(
    acts: list[Act], limits: Limits, correct_as_conditioning: bool
) -> None:
    stream = Stream(limits, correct_as_conditioning)
    for act in acts:
        stream.act(act)


def test_one_object_among_fifty() -> None:
    model, _, features = small()
    model.memory_temporal_stride_for_eval = 1
    rng = np.random.default_rng(0)
    alone, among = Tracker(model), Tracker(model)
    kinds = [click, box, mask, beside]
    last: ObjectMask | None = None
    for index in range(12):
        others = {
            100 * (index + 1) + i: kinds[rng.integers(4)](SIDE, index)
            for i in range(25 if index < 2 else 2)
        }
        mine = {1: box(SIDE, index)} if index in (1, 5) else {}
        if mine:
            alone.add_objects(index, features[index], mine)
        among.add_objects(index, features[index], others | mine)
        if index > 3:
            among.remove_object(int(rng.choice([i for i in among.object_ids if i != 1])))
        ours, expected = among.step(index, features[index]), alone.step(index, features[index])
        if index < 1:
            continue
        np.testing.assert_allclose(ours[1].logits, expected[1].logits, atol=4e-3)
        np.testing.assert_allclose(ours[1].pointer, expected[1].pointer, atol=4e-3)
        last = ours[1]
    assert len(among.object_ids) > 50
    assert last is not None
    assert 0.02 < last.mask.mean() < 0.98
