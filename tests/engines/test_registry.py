from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from engines import registry
from engines.errors import ModelError
from engines.registry.places import WEIGHTS_DIR


@pytest.fixture(autouse=True)
def _empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_an_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(
        ModelError, match=r"model 'sam3' is unknown; accepted are micro, sam2.1-tiny"
    ):
        registry.load_tracker("sam3")
    with pytest.raises(ModelError, match="CLIP model 'ViT-Z-9' is unknown"):
        registry.load_clip("ViT-Z-9", "random:0")


def test_weights_that_are_not_there_name_file_command_and_default() -> None:
    with pytest.raises(ModelError) as caught:
        registry.load_tracker("sam2.1-tiny")
    text = str(caught.value)
    assert "sam2.1_hiera_tiny.pt of facebook/sam2.1-hiera-tiny" in text
    assert "huggingface-cli download facebook/sam2.1-hiera-tiny sam2.1_hiera_tiny.pt" in text
    assert "model micro, which needs none" in text


def test_clip_has_default_weights_only_where_they_are_known() -> None:
    with pytest.raises(ModelError, match="laion/CLIP-ViT-B-32-laion2B-s34B-b79K"):
        registry.load_clip("ViT-B-32")
    with pytest.raises(ModelError, match="no default weights are known for it"):
        registry.load_clip("ViT-B-16")
    with pytest.raises(ModelError, match="CLIP weights 'nope' are unknown for ViT-B-32"):
        registry.load_clip("ViT-B-32/nope")


def test_a_folder_without_weights_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"open_clip_model.safetensors and open_clip_pytorch"):
        registry.load_clip("micro", str(tmp_path))


def test_an_image_size_that_cannot_be_is_said() -> None:
    with pytest.raises(ModelError, match="image_size 100 is not usable"):
        registry.load_tracker("micro", weights="random:0", image_size=100)


def test_the_packaged_models_are_listed_intact() -> None:
    rows = {(row.name, row.kind): row for row in registry.status()}
    for kind in ("sam2", "clip"):
        row = rows["micro", kind]
        assert row.present
        assert row.check == "ok"
    assert not rows["sam2.1-tiny", "sam2"].present
    assert "huggingface-cli download" in rows["sam2.1-tiny", "sam2"].get


@pytest.mark.parametrize(
    ("device", "message"),
    [("foo", "device 'foo' is unknown"), ("cuda:0", "torch finds no CUDA device here")],
)
def test_a_device_that_is_not_here_is_said(
    device: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelError, match=message):
        registry.load_tracker("micro", weights="random:0", device=device)


def test_the_clip_that_belongs_beside_a_model() -> None:
    assert registry.default_clip("micro") == "micro"
    assert registry.default_clip("sam2.1-large") == "ViT-B-32/laion2b_s34b_b79k"


def test_the_packaged_models_are_what_their_sums_say_and_small() -> None:
    lines = (WEIGHTS_DIR / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    files = sorted(WEIGHTS_DIR.glob("*.safetensors"))
    assert sorted(sums) == [path.name for path in files]
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sums[path.name], path.name
    assert sum(path.stat().st_size for path in files) <= 16_000_000
