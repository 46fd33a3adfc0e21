"""Loading weights: every key or nothing, no code from a file, and messages that help."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from engines.checkpoint import build_random, load_weights, random_seed, read_state
from engines.errors import ModelError


def layer(seed: int = 0) -> nn.Module:
    return build_random(lambda: nn.Linear(3, 2), seed)


@pytest.mark.parametrize("wrap", [None, "model", "state_dict"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_state_dict_comes_back_from_disk(tmp_path: Path, suffix: str, wrap: str | None) -> None:
    path, source, target = tmp_path / f"w{suffix}", layer(1), layer(2)
    state = source.state_dict()
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrap: state} if wrap else state, path)
    load_weights(target, path, "layer")
    assert torch.equal(target.weight, source.weight)


def test_foreign_weights_are_named_by_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(5, 3), "gain": torch.zeros(1)}, path)
    before = layer().state_dict()["weight"].clone()
    model = layer()
    with pytest.raises(ModelError) as caught:
        load_weights(model, path, "layer")
    text = str(caught.value)
    assert "these weights are not of layer: 1 missing (bias); 1 unexpected (gain); 1 of" in text
    assert "another shape (weight)" in text
    assert torch.equal(model.weight, before), "nothing is loaded in part"


class Trap:
    def __reduce__(self) -> tuple:
        return (open, ("/nonexistent/owned", "w"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("garbage.pt", b"not weights at all"),
        ("empty.safetensors", b""),
        ("trap.pt", pickle.dumps(Trap())),
        ("short.bin", b""),
    ],
)
def test_unreadable_files_are_one_clear_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not readable as weights") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such weights file; accepted are a local"):
        read_state(tmp_path / "none.pt")


def test_random_weights_depend_on_the_seed_only() -> None:
    state = torch.get_rng_state()
    assert torch.equal(layer(3).weight, layer(3).weight)
    assert not torch.equal(layer(3).weight, layer(4).weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_is_a_whole_number() -> None:
    assert random_seed("random:12") == 12
    with pytest.raises(ModelError, match="random:SEED takes a whole number"):
        random_seed("random:x")
