"""What needs a CUDA device; with MASKCAST_REQUIRE_CUDA=1 a missing one is a failure."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from engines.backends import Running
from engines.backends.torch_backend import TorchRunner
from engines.engine_folder import Engines
from engines.networks import sam2_networks
from engines.registry import load_sam2
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
