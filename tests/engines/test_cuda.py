"""What needs a CUDA device; with MASKCAST_REQUIRE_CUDA=1 a missing one is a failure."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from engines.backends import Running
from engines.backends.torch_backend import TorchRunner
from engines.continuity import NotFiniteError
from engines.device_mask import DeviceMask
from engines.engine_folder import Engines
from engines.images import mask_in_frame
from engines.lanes import Lane, make_stream
from engines.networks import sam2_networks
from engines.registry import load_sam2
from engines.settings import Cleanup
from engines.tracker import Tracker

SIZES = {"B": 3, "R": 1, "n": 16, "K": 40, "P": 3, "s": 4, "s2": 8, "s4": 16}


@pytest.fixture(autouse=True)
def device() -> None:
    """Skip, or fail, where there is no device."""
    if torch.cuda.is_available():
        return
    if os.environ.get("MASKCAST_REQUIRE_CUDA") == "1":
        pytest.fail("MASKCAST_REQUIRE_CUDA=1, but torch finds no CUDA device")
    pytest.skip("torch finds no CUDA device")


def test_graphs_give_what_eager_gives_for_every_number_of_objects() -> None:
    networks = sam2_networks(load_sam2("micro", "random:3", 64).model)
    for name, network in networks.items():
        eager = TorchRunner(network.cpu(), "fp32", Running())
        wanted = {n: eager(network.example({**SIZES, "B": n}, seed=n)) for n in (1, 2, 3)}
        runner = TorchRunner(network, "fp32", Running("cuda"))
        for _ in range(2):  # the second time from a graph that is there already
            for count in (1, 2, 3):
                inputs = network.example({**SIZES, "B": count}, seed=count)
                found = runner({key: tensor.cuda() for key, tensor in inputs.items()})
                for port, tensor in wanted[count].items():
                    assert torch.allclose(found[port].cpu(), tensor, atol=1e-3, rtol=1e-3), (
                        f"{name}.{port} with {count} objects"
                    )


def test_results_are_the_callers_to_keep() -> None:
    network = sam2_networks(load_sam2("micro", "random:3", 64).model, ("shared_queries",))
    runner = TorchRunner(network["shared_queries"], "fp32", Running("cuda"))
    first, second = (
        {"top": network["shared_queries"].example(SIZES, seed)["top"].cuda()} for seed in (1, 2)
    )
    kept = runner(first)["x"]
    before = kept.clone()
    runner(second)
    assert torch.equal(kept, before)


@pytest.mark.parametrize("graphs", [False, True])
def test_a_tracker_on_a_card_gives_what_one_on_the_processor_gives(graphs: bool) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 60, 3), dtype=np.uint8) for _ in range(6)]
    results = []
    for where in ("cpu", "cuda"):
        sam = load_sam2("micro", "random:3", 64).model.to(where)
        engines = None
        if graphs and where == "cuda":
            how = Running("cuda")
            networks = sam2_networks(sam)
            runners = {name: TorchRunner(net, "fp32", how) for name, net in networks.items()}
            engines = Engines("torch", runners, "", dict.fromkeys(runners, "fp32"))
        tracker = Tracker(sam, device=where, rendered_prompts=True, engines=engines)
        masks = []
        for index, image in enumerate(frames):
            features = tracker.encode(image)
            if index == 0:
                tracker.add_object(1, 0, features, box=(5.0, 5.0, 30.0, 40.0))
                tracker.add_object(2, 0, features, points=[(40.0, 20.0)], labels=[1])
            masks.append({i: m.logits for i, m in tracker.step(index, features).items()})
        results.append(masks)
    for on_processor, on_card in zip(*results, strict=True):
        for number, logits in on_processor.items():
            assert np.abs(logits - on_card[number]).max() < 0.02 * np.abs(logits).max()


def film(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (90, 101, 3), dtype=np.uint8) for _ in range(count)]


def started(graphs: bool = False, **options: Any) -> Tracker:
    """Return a tracker on the card with two objects in frame 0, not stepped yet."""
    sam = load_sam2("micro", "random:3", 64).model.to("cuda")
    engines = None
    if graphs:
        networks = sam2_networks(sam)
        runners = {
            name: TorchRunner(net, "fp32", Running("cuda")) for name, net in networks.items()
        }
        engines = Engines("torch", runners, "", dict.fromkeys(runners, "fp32"))
    tracker = Tracker(sam, device="cuda", rendered_prompts=True, engines=engines, **options)
    features = tracker.encode(film(1)[0])
    tracker.add_object(1, 0, features, box=(5.0, 5.0, 30.0, 40.0))
    tracker.add_object(2, 0, features, points=[(40.0, 20.0)], labels=[1])
    return tracker


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("apart", [False, True])
def test_encode_and_step_wait_for_the_card_once(graphs: bool, apart: bool) -> None:
    tracker = started(graphs, cleanup=Cleanup(non_overlap=apart))
    frames = film(24)
    for index in range(20):  # until an object attends to as many frames as ever
        tracker.step(index, tracker.encode(frames[index]))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for index in range(20, 24):
            results = tracker.step(index, tracker.encode(frames[index]))
            assert all(isinstance(result, DeviceMask) for result in results.values())
            assert results[1].in_frame((90, 101))[0].dtype == np.bool_
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_masks_as_bits_are_the_logits_over_zero() -> None:
    tracker = started()
    for index, image in enumerate(film(5)):
        found = tracker.step(index, tracker.encode(image))
    for result in found.values():
        np.testing.assert_array_equal(result.mask, result.logits > 0)
        part, box = result.in_frame((90, 101))
        expected, expected_box = mask_in_frame(result.logits, (90, 101))
        assert np.abs(np.subtract(box, expected_box)).max() <= 1
        if box == expected_box:
            assert np.count_nonzero(part != expected) <= 2


def test_frames_that_come_faster_than_the_card_are_not_mixed_up() -> None:
    """Pinned buffers and lanes: many frames are asked for before the first is done."""
    tracker = started()
    frames = film(12)
    together = [tracker.encode(image) for image in frames]
    torch.cuda.synchronize()
    for image, features in zip(frames, together, strict=True):
        alone = tracker.encode(image)
        torch.cuda.synchronize()
        assert torch.equal(alone.top, features.top)


@pytest.mark.parametrize("bad", ["features", "logits"])
def test_of_bad_numbers_nothing_is_remembered(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = started()
    frames = film(4)
    for index in range(3):
        tracker.step(index, tracker.encode(frames[index]))
    before = {name: kept.clone() for name, kept in tracker._state.bank._store.items()}
    features = tracker.encode(frames[3])
    with monkeypatch.context() as patched:
        if bad == "features":
            spoilt = features.top.clone()
            spoilt[0, 3] = torch.nan
            given = replace(features, top=spoilt, finite=torch.tensor(False, device="cuda"))
        else:
            track, given = tracker._state.heads.track, features
            patched.setattr(
                tracker._state.heads,
                "track",
                lambda *a: replace(out := track(*a), low=out.low * torch.nan),
            )
        with pytest.raises(NotFiniteError):
            tracker.step(3, given)
    for name, kept in tracker._state.bank._store.items():
        assert torch.equal(kept.view(torch.uint8), before[name].view(torch.uint8)), name
    assert tracker.last_frame == 2
    assert set(tracker.step(3, features)) == {1, 2}


def test_a_device_time_lies_between_asking_and_the_result() -> None:
    tracker = started()
    tracker.step(0, tracker.encode(film(1)[0]))
    asked_ns = time.monotonic_ns()
    features = tracker.encode(film(2)[1])
    tracker.step(1, features)
    encoded_ns = tracker.encoded_ns(features)
    assert encoded_ns is not None
    assert asked_ns <= encoded_ns <= time.monotonic_ns()


def test_the_tracker_is_the_most_urgent() -> None:
    streams = [make_stream(torch.device("cuda"), urgency) for urgency in ("high", "normal", "low")]
    high, normal, low = (stream.priority for stream in streams)
    assert high < low
    assert high <= normal <= low


def test_a_detection_under_way_does_not_hold_up_tracking() -> None:
    """A step takes hardly longer while another lane is busy with work that lasts longer."""
    tracker = started()
    frames = film(60)
    busy = Lane(torch.device("cuda"), "low")
    a, done = torch.randn(2048, 2048, device="cuda"), torch.cuda.Event()
    spent: dict[bool, list[float]] = {False: [], True: []}
    for index, image in enumerate(frames):
        beside = index % 2 == 1
        torch.cuda.synchronize()
        if beside:
            with busy():
                for _ in range(400):
                    torch.mm(a, a)
                done.record()
        start = time.perf_counter()
        tracker.step(index, tracker.encode(image))
        if index >= 20:
            spent[beside].append(time.perf_counter() - start)
            if beside:
                assert not done.query(), "the case must not be trivial"
    assert np.median(spent[True]) < 3 * np.median(spent[False])
