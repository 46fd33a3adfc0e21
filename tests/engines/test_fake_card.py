"""A step as a card runs it, on a card that computes nothing: devices, order of streams, waits."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from engines import prompting, stepping
from engines.build import build_sam2
from engines.device_mask import DeviceMask
from engines.engine_folder import Engines
from engines.networks import sam2_networks
from engines.objects import ObjectMask, Prompt
from engines.settings import Cleanup
from engines.tracker import Tracker
from tests.support.fake_card import FakeCard, Unwaited, fake_card

IMAGE = np.zeros((48, 60, 3), dtype=np.uint8)
NOWHERE = ObjectMask(np.zeros((16, 16), dtype=np.float32), 0.5, 1.0)


@pytest.fixture(scope="module")
def plain() -> Any:
    torch.manual_seed(0)
    return build_sam2("micro", 64)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCard]:
    with fake_card(monkeypatch) as card:
        # A prompt asks for its result by itself, which is not what is looked at here.
        monkeypatch.setattr(prompting, "as_mask", lambda *_: NOWHERE)
        yield card


def carried(card: FakeCard, plain: Any) -> Engines:
    """Return exported networks on the card."""

    def runner(network: Any) -> Any:
        signature = network.signature

        def run(tensors: Any) -> Any:
            found = network(*(tensors[port.name] for port in signature.inputs))
            found = found if isinstance(found, tuple) else (found,)
            return {port.name: t for port, t in zip(signature.outputs, found, strict=True)}

        return run

    networks = sam2_networks(plain)
    runners = {name: runner(card.carry(copy.deepcopy(n))) for name, n in networks.items()}
    return Engines("torch", runners, "", dict.fromkeys(runners, "fp32"))


def start(card: FakeCard, plain: Any, **options: Any) -> Tracker:
    """Return a tracker on the card with two objects that were stepped three times."""
    model = card.carry(copy.deepcopy(plain))
    with card.mode:
        tracker = Tracker(model, device="cuda", **options)
        features = tracker.encode(IMAGE)
        features.checked = True
        prompt = Prompt(mask=np.ones((64, 64), dtype=bool))
        tracker.add_objects(0, features, {1: prompt, 2: prompt})
        for index in range(3):
            tracker.step(index, features if index == 0 else tracker.encode(IMAGE))
    card.downloads.clear()
    card.log.clear()
    return tracker


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("cleanup", [Cleanup(), Cleanup(non_overlap=True)])
def test_a_frame_is_one_download_and_nothing_else_is_waited_for(
    card: FakeCard,
    plain: Any,
    cleanup: Cleanup,
    exported: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Prompted objects come beside stepped ones in the first frame only.
    monkeypatch.setattr(stepping, "_apart", lambda results: results)
    engines = carried(card, plain) if exported else None
    tracker = start(card, plain, cleanup=cleanup, engines=engines)
    with card.mode, Unwaited(monkeypatch):
        results = tracker.step(3, tracker.encode(IMAGE))
    assert [type(result) for result in results.values()] == [DeviceMask, DeviceMask]
    assert len(card.downloads) == 1
    assert results[1].mask.shape == (16, 16)


def test_the_tracker_waits_for_the_encoder_and_the_host_for_nobody(
    card: FakeCard, plain: Any
) -> None:
    tracker = start(card, plain)
    with card.mode:
        features = tracker.encode(IMAGE)
        assert card.log == [("default", "waits for", "normal")]
        tracker.step(3, features)
    assert card.log[1:] == [("high", "waits for", "normal")]
    assert card.streams[-1].name == "default", "all lanes were left"


def test_a_wait_is_an_error_here(
    card: FakeCard, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = start(card, plain)
    with card.mode:
        features = tracker.encode(IMAGE)
        with pytest.raises(Exception, match="local_scalar_dense"):
            features.check()
        waiting = (
            lambda: features.top.cpu(),
            lambda: torch.tensor([1, 2], device="cuda"),
            lambda: features.top[0, [1, 2]],
            lambda: features.top[0, torch.arange(2)],
        )
        for call in waiting:
            with Unwaited(monkeypatch), pytest.raises(AssertionError, match=r"waited|host"):
                call()
