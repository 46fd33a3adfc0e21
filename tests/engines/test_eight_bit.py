"""Weights in eight bits: what comes back, and what is left alone."""

from __future__ import annotations

import torch

from engines.eight_bit import MOST, packed, unpacked


def test_each_row_comes_back_within_half_a_step_of_its_own() -> None:
    torch.manual_seed(0)
    rows = torch.tensor([1e-6, 1.0, 50.0])[:, None, None, None]
    kernel = torch.randn(3, 4, 3, 3) * rows
    state = packed({"kernel": kernel, "bias": torch.randn(3)})
    assert state["kernel"].dtype == torch.int8
    assert state["kernel"].shape == kernel.shape
    back = unpacked(state)["kernel"]
    step = kernel.flatten(1).abs().amax(dim=1) / MOST
    assert bool(((back - kernel).flatten(1).abs().amax(dim=1) <= step * 0.501).all())


def test_vectors_whole_numbers_and_what_was_never_packed_stay() -> None:
    state = {"bias": torch.randn(3), "steps": torch.tensor(7), "ids": torch.ones(2, 2).int()}
    for one in (unpacked(packed(state)), unpacked(state)):
        assert one.keys() == state.keys()
        assert all(torch.equal(one[name], state[name]) for name in state)


def test_a_row_of_nothing_stays_nothing() -> None:
    assert not unpacked(packed({"weight": torch.zeros(2, 3)}))["weight"].any()


def test_what_a_file_in_half_precision_holds_is_read_too() -> None:
    weight = torch.randn(4, 5)
    state = {
        name: one.half() if one.is_floating_point() else one
        for name, one in packed({"w": weight}).items()
    }
    assert set(unpacked(state)) == {"w"}
    torch.testing.assert_close(unpacked(state)["w"], weight, atol=0.05, rtol=0.0)


def test_a_weight_of_that_name_that_belongs_to_none_is_a_weight() -> None:
    assert set(unpacked({"norm.largest": torch.randn(3)})) == {"norm.largest"}
