"""One download a step: the same results, one wait, and no trace of numbers that are not finite.

All of it runs on the processor, where the gathered way can be asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engines import heads, transfer
from engines.build import build_sam2
from engines.continuity import NotFiniteError
from engines.device_mask import DeviceMask
from engines.images import mask_in_frame
from engines.objects import ObjectMask, Prompt
from engines.settings import Calm, Cleanup, Savings, Window
from engines.tracker import Tracker

SIDE = 64
# What makes the host wait for a card, as methods of tensors and as operators.
WAITS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__")
ASKING = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select")


@pytest.fixture(scope="module")
def tiny() -> Any:
    """Micro's architecture at 64 px with random weights, whose objects are seen."""
    torch.manual_seed(0)
    model = build_sam2("micro", SIDE)
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(3.0)
        model.no_obj_embed_spatial.normal_()
    return model


def film(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 255, (90, 101, 3), dtype=np.uint8) for _ in range(count)]


def square(x: int, y: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[y : y + 24, x : x + 24] = True
    return mask


def follow(tracker: Tracker, frames: list[np.ndarray]) -> list[dict[int, ObjectMask]]:
    found = []
    for index, image in enumerate(frames):
        features = tracker.encode(image)
        if index == 0:
            tracker.add_objects(
                0, features, {i: Prompt(mask=square(6 * i, 30 - 5 * i)) for i in range(5)}
            )
        if index == 3:
            tracker.add_object(9, 1, points=[(30.0, 30.0)], labels=[1], catch_up="replay")
        found.append(tracker.step(index, features))
    return found


@pytest.mark.parametrize(
    ("savings", "cleanup"),
    [
        (Savings(), Cleanup()),
        (Savings(), Cleanup(non_overlap=True, one_piece=True)),
        (Savings(), Cleanup(fill_holes_px=4, drop_specks_px=4)),
        (Savings(), Cleanup(smooth=0.4)),
        (Savings(window=Window(min_score=-9.0, min_iou=0.0)), Cleanup()),
        (Savings(calm=Calm(min_iou=0.3)), Cleanup(non_overlap=True)),
    ],
    ids=["plain", "apart", "cleaned", "smooth", "window", "calm"],
)
def test_gathered_results_are_those_of_asking_for_each(
    tiny: Any, savings: Savings, cleanup: Cleanup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_predict", with_every_other_absent(heads._predict))
    frames = film(7)
    ways = [
        Tracker(tiny, savings=savings, cleanup=cleanup, gathered=gathered)
        for gathered in (False, True)
    ]
    direct, gathered = (follow(tracker, frames) for tracker in ways)
    assert [e.kind for e in ways[0].events()] == [e.kind for e in ways[1].events()]
    seen = set()
    for one, other in zip(direct, gathered, strict=True):
        assert list(one) == list(other)
        for number, mask in one.items():
            twin = other[number]
            # Whose a pixel is that two objects want equally little, rounding decides.
            contested = np.minimum(abs(twin.logits), abs(mask.logits)) < 2e-3
            both = [np.where(contested, 0.0, found.logits) for found in (twin, mask)]
            np.testing.assert_allclose(*both, atol=2e-3)
            assert contested.mean() < 0.05
            np.testing.assert_allclose(twin.pointer, mask.pointer, atol=1e-4)
            assert twin.iou == pytest.approx(mask.iou, abs=1e-5)
            assert twin.object_score == pytest.approx(mask.object_score, abs=1e-4)
            np.testing.assert_array_equal(twin.mask, twin.logits > 0)
            for size in ((90, 101), (33, 40)):
                part, box = twin.in_frame(size)
                expected, expected_box = mask_in_frame(twin.logits, size)
                assert np.abs(np.subtract(box, expected_box)).max() <= 1
                if box == expected_box:  # rounding may put a pixel on either side
                    assert np.count_nonzero(part != expected) <= 2
            seen.add((type(twin), mask.object_score > 0))
    if cleanup == Cleanup() and savings == Savings():
        assert {(DeviceMask, True), (DeviceMask, False)} <= seen, "the case must not be trivial"


def with_every_other_absent(predict: Any) -> Any:
    def changed(*args: Any) -> Any:
        *rest, scores = predict(*args)
        scores = scores.clone()
        scores[::2] -= 9.0
        return *rest, scores

    return changed


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count what would make the host wait, called from Python or from within torch."""
    waits: Counter[str] = Counter()

    class Asking(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = func._schema.name.removeprefix("aten::")
            if name in ASKING or (name == "index" and _is_mask(args[1])):
                waits[name] += 1
            return func(*args, **(kwargs or {}))

    def noted(name: str, method: Any) -> Any:
        def call(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            waits[name] += 1
            return method(self, *args, **kwargs)

        return call

    with monkeypatch.context() as patched, Asking():
        for name in WAITS:
            patched.setattr(torch.Tensor, name, noted(name, getattr(torch.Tensor, name)))
        yield waits


def _is_mask(indices: list[torch.Tensor | None]) -> bool:
    return any(i is not None and i.dtype == torch.bool for i in indices)


@pytest.mark.parametrize("gathered", [False, True])
def test_a_frame_waits_for_the_device_once(
    tiny: Any, gathered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(tiny, gathered=gathered)
    frames = film(6)
    follow(tracker, frames[:4])
    downloads: list[int] = []
    host_bytes = transfer.host_bytes

    def noted(packed: torch.Tensor) -> Any:
        downloads.append(len(packed))
        return host_bytes(packed)

    monkeypatch.setattr(transfer, "host_bytes", noted)
    with counted(monkeypatch) as waits:
        for index in (4, 5):
            results = tracker.step(index, tracker.encode(frames[index]))
            masks = [result.mask for result in results.values()]
            boxes = [result.in_frame((90, 101)) for result in results.values()]
    assert len(masks) == len(boxes) == 6
    if gathered:
        assert waits == {"numpy": 2}, "only that of the download itself, once a frame"
        assert len(downloads) == 2
    else:
        assert waits.total() > 40, "what the count has to notice where each is asked for"


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("where", ["features", "logits", "scores"])
def test_of_a_frame_with_bad_numbers_nothing_is_remembered(
    tiny: Any, gathered: bool, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(tiny, gathered=gathered)
    frames = film(6)
    follow(tracker, frames[:4])
    good = tracker.encode(frames[4])
    before = snapshot(tracker)
    tracker.events()
    with monkeypatch.context() as patched:
        bad = spoil(tracker, good, where, patched)
        with pytest.raises(NotFiniteError, match="not finite"):
            tracker.step(4, bad)
    assert snapshot(tracker) == before
    assert tracker.last_frame == 3
    assert tracker.events() == []
    again = tracker.step(4, good)
    straight = Tracker(tiny, gathered=gathered)
    follow(straight, frames[:4])
    expected = straight.step(4, straight.encode(frames[4]))
    for number, mask in expected.items():
        np.testing.assert_array_equal(again[number].logits, mask.logits)


def test_without_objects_bad_features_are_noticed_too(tiny: Any) -> None:
    tracker = Tracker(tiny, gathered=True)
    good = tracker.encode(film(1)[0])
    with pytest.raises(NotFiniteError, match=r"the features \(top\)"):
        tracker.step(0, bad_features(good, gathered=True))
    with pytest.raises(NotFiniteError):
        tracker.add_object(1, 0, bad_features(good, gathered=True), mask=square(8, 8))
    with pytest.raises(NotFiniteError):
        bad_features(good, gathered=True).to_arrays()
    assert tracker.last_frame is None
    assert tracker.object_ids == []


def spoil(tracker: Tracker, good: Any, where: str, patched: pytest.MonkeyPatch) -> Any:
    if where == "features":
        return bad_features(good, gathered=tracker._gathered)
    track = tracker._state.heads.track

    def broken(*args: Any) -> Any:
        out = track(*args)
        name = "low" if where == "logits" else "scores"
        return replace(out, **{name: torch.full_like(getattr(out, name), torch.nan)})

    patched.setattr(tracker._state.heads, "track", broken)
    return good


def bad_features(good: Any, *, gathered: bool) -> Any:
    top = good.top.clone()
    top[0, 3] = torch.inf
    return replace(good, top=top, checked=False, finite=torch.tensor(False) if gathered else None)


def snapshot(tracker: Tracker) -> Any:
    """All that is remembered, tensors as bytes."""
    store = tracker._state.bank._store
    stored = {name: kept.view(torch.uint8).numpy().tobytes() for name, kept in store.items()}
    books = {
        i: repr((m.conditioning, m.recents, m.pointers, m.stored, m.outputs, m.tracked))
        for i, m in tracker._state.memories.items()
    }
    return stored, books, [index for index, _ in tracker._ring._kept]
