"""CLIP from disk: which file, whose keys, which picture statistics, and no network at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from engines.checkpoint import read_state
from engines.clip_models import fit_state, image_statistics, own_size_px
from engines.errors import ModelError
from engines.images import OPENAI_MEAN
from engines.registry import load_clip
from engines.texts import text_bank

NAME = "ViT-test"
SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def _small_and_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small architecture, and a machine where opening a socket fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    configs = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(configs, NAME, SMALL)
    monkeypatch.setitem(configs, f"{NAME}-quickgelu", SMALL | {"quick_gelu": True})


def state(seed: int) -> dict[str, torch.Tensor]:
    return load_clip(NAME, f"random:{seed}").model.state_dict()


@pytest.mark.parametrize("suffix", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_a_folder_is_enough(tmp_path: Path, suffix: str) -> None:
    wanted = state(3)
    if suffix.endswith("bin"):
        torch.save(wanted, tmp_path / suffix)
    else:
        save_file(wanted, tmp_path / suffix)
    loaded = load_clip(NAME, str(tmp_path))
    assert loaded.origin == str(tmp_path / suffix)
    assert not loaded.random
    assert all(torch.equal(v, wanted[k]) for k, v in loaded.model.state_dict().items())
    # The whole way to text vectors asks no network either.
    assert text_bank(loaded.model, NAME, loaded.origin).embed(["a dog"]).shape == (1, 16)


def test_safetensors_go_before_torch_files(tmp_path: Path) -> None:
    torch.save(state(1), tmp_path / "open_clip_pytorch_model.bin")
    save_file(state(2), tmp_path / "open_clip_model.safetensors")
    loaded = load_clip(NAME, str(tmp_path))
    assert torch.equal(loaded.model.visual.proj, state(2)["visual.proj"])


def test_missing_and_unexpected_keys_are_counted_and_named(tmp_path: Path) -> None:
    wrong = {k: v for k, v in state(0).items() if not k.startswith("transformer.resblocks.0.ln")}
    wrong["head.weight"] = torch.zeros(2)
    save_file(wrong, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ModelError) as caught:
        load_clip(NAME, str(tmp_path))
    text = str(caught.value)
    assert "4 missing (transformer.resblocks.0.ln_1.bias, " in text
    assert "1 unexpected (head.weight)" in text


def test_files_of_another_age_fit(tmp_path: Path) -> None:
    old = state(5)
    old["logit_scale"] = old["logit_scale"].reshape(1)
    old["text.transformer.embeddings.position_ids"] = torch.arange(4)
    path = tmp_path / "old.bin"
    torch.save(old, path)
    model = load_clip(NAME, "random:0").model
    fitted = fit_state(read_state(path), model)
    assert fitted.keys() == model.state_dict().keys()
    assert fitted["logit_scale"].shape == ()
    assert torch.equal(
        load_clip(NAME, str(path)).model.logit_scale.detach(), state(5)["logit_scale"]
    )


def published(folder: Path, *, quick: bool) -> None:
    save_file(state(0), folder / "open_clip_model.safetensors")
    config = {
        "model_cfg": SMALL | {"quick_gelu": quick},
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def test_the_folder_says_how_pictures_are_normalised(tmp_path: Path) -> None:
    published(tmp_path, quick=False)
    visual = load_clip(NAME, str(tmp_path)).model.visual
    assert image_statistics(visual) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert own_size_px(visual) == 64
    assert image_statistics(load_clip("micro").model.visual)[0] == OPENAI_MEAN


def test_weights_of_another_activation_are_refused(tmp_path: Path) -> None:
    published(tmp_path, quick=True)
    with pytest.raises(ModelError, match=r"QuickGELU and ViT-test has GELU; take ViT-test-quick"):
        load_clip(NAME, str(tmp_path))
    assert load_clip(f"{NAME}-quickgelu", str(tmp_path)).model.visual is not None
    published(tmp_path, quick=False)
    with pytest.raises(ModelError, match=r"with GELU and ViT-test-quickgelu has QuickGELU; take V"):
        load_clip(f"{NAME}-quickgelu", str(tmp_path))


def test_a_broken_config_is_one_line(tmp_path: Path) -> None:
    save_file(state(0), tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text("[1]")
    with pytest.raises(ModelError, match="not an open_clip configuration") as caught:
        load_clip(NAME, str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_tag_names_the_architecture_that_its_weights_need(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ModelError, match=r"ViT-B-32/openai: .* take ViT-B-32-quickgelu"):
        load_clip("ViT-B-32/openai", str(path))
