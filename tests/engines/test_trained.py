"""Folders that training wrote: their card, and loading them as weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engines.build import build_sam2
from engines.errors import ModelError
from engines.registry import load_clip, load_sam2, load_tracker
from engines.trained import CARD_FILE, WEIGHTS_FILE, TrainedModel, read_trained, write_trained
from train.checkpoint import export_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A micro model of 128 px, as `maskcast train sam2` leaves it."""
    path = tmp_path_factory.mktemp("trained")
    torch.manual_seed(3)
    digest = export_weights(build_sam2("micro", 128).state_dict(), path / WEIGHTS_FILE)
    write_trained(path, card(sha256=digest))
    return path


def card(**changes: object) -> TrainedModel:
    values: dict[str, object] = {
        "kind": "sam2",
        "name": "micro",
        "image_size": 128,
        "base_sha256": "",
        "sha256": "0" * 64,
        "version": "0.1.0",
        "recipe": {"steps": 3},
        "data": {"format": "instances"},
    }
    return TrainedModel(**(values | changes))  # type: ignore[arg-type]


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = card(after={"box": 0.9}, data={"name": "Würmer"})
    write_trained(tmp_path, written)
    assert read_trained(tmp_path) == written
    assert not list(tmp_path.glob("*.partial"))
    assert read_trained(tmp_path / "elsewhere") is None


def test_the_size_is_the_folders_unless_given(folder: Path) -> None:
    assert load_sam2("micro", str(folder)).model.image_size == 128
    assert load_sam2("micro", str(folder), 256).model.image_size == 256
    loaded = load_sam2("micro", str(folder))
    assert loaded.origin == str(folder / WEIGHTS_FILE)
    torch.manual_seed(3)
    wanted = build_sam2("micro", 128).state_dict()
    for name, value in loaded.model.state_dict().items():
        assert torch.allclose(value, wanted[name], atol=2e-3), name
    assert load_tracker("micro", weights=str(folder)).image_size == 128


def test_another_model_is_refused(folder: Path) -> None:
    with pytest.raises(
        ModelError, match=r"trained from micro, not from sam2\.1-tiny; give --model"
    ):
        load_sam2("sam2.1-tiny", str(folder))


def test_another_kind_is_refused(tmp_path: Path) -> None:
    write_trained(tmp_path, card(kind="clip"))
    with pytest.raises(ModelError, match=r"holds a clip model, sam2 is needed.*--clip-weights"):
        load_sam2("micro", str(tmp_path))


def test_a_sam2_folder_is_no_clip(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"holds a sam2 model, clip is needed.*--weights"):
        load_clip("micro", str(folder))


def test_a_clip_folder_is_of_an_architecture(tmp_path: Path) -> None:
    write_trained(tmp_path, card(kind="clip", name="ViT-B-32/laion2b_s34b_b79k"))
    with pytest.raises(ModelError, match=r"was trained from ViT-B-32/.*, not from micro"):
        load_clip("micro", str(tmp_path))
    with pytest.raises(ModelError, match="holds no weights"):
        load_clip("ViT-B-32", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable"),
        ("[1]", "does not say what it is of"),
        (json.dumps({"kind": "sam2"}), "does not say what it is of"),
        (json.dumps({"kind": "sam2", "name": "micro", "image_size": "big"}), "image_size is 'big'"),
    ],
)
def test_a_damaged_card_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / CARD_FILE).write_text(text)
    with pytest.raises(ModelError, match=said) as caught:
        load_sam2("micro", str(tmp_path))
    assert CARD_FILE in str(caught.value)


def test_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    write_trained(tmp_path, card())
    with pytest.raises(ModelError, match=rf"{WEIGHTS_FILE}: no such weights file"):
        load_sam2("micro", str(tmp_path))
