"""Every kind of CLIP loads without a socket, and without a word about weights that are random."""

from __future__ import annotations

import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
from safetensors.torch import save_file

from engines import multilingual
from engines.build import build_clip
from engines.errors import ModelError
from engines.registry import load_clip
from engines.texts import text_bank

PLAIN, MULTILINGUAL = "ViT-B-32", "xlm-roberta-base-ViT-B-32"
SMALL_TEXT = {
    "model_type": "xlm-roberta", "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 90,
    "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small_and_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Shallow towers, and a machine where opening a socket fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in (PLAIN, MULTILINGUAL):
        config = open_clip.get_model_config(name)
        config["vision_cfg"]["layers"] = 1
        if name == PLAIN:
            config["text_cfg"]["layers"] = 1
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    monkeypatch.setitem(multilingual._KNOWN_SHAPES, "xlm-roberta-base", SMALL_TEXT)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_plain_model_is_built_in_silence(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    handlers = list(logging.getLogger().handlers)
    loaded = load_clip(PLAIN, "random:1")
    assert text_bank(loaded.model, PLAIN, loaded.origin).embed(["a dog"]).shape == (1, 512)
    build_clip(PLAIN)
    assert not caplog.records
    assert said(capfd) == ""
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger().filters == []


def test_other_warnings_while_building_are_heard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = open_clip.create_model

    def warn(*args: Any, **kwargs: Any) -> Any:
        logging.warning("something else")
        return real(*args, **kwargs)

    monkeypatch.setattr(open_clip, "create_model", warn)
    build_clip(PLAIN)
    assert [record.getMessage() for record in caplog.records] == ["something else"]


def test_a_folder_is_loaded_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    weights = {
        k: v.contiguous() for k, v in load_clip(PLAIN, "random:2").model.state_dict().items()
    }
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    assert not load_clip(PLAIN, str(tmp_path)).random
    assert not caplog.records
    assert said(capfd) == ""


def test_a_multilingual_model_asks_no_network(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("transformers")
    loaded = load_clip(MULTILINGUAL, "random:3")
    assert text_bank(loaded.model, MULTILINGUAL, loaded.origin).embed(["狗"]).shape == (1, 512)
    (tmp_path / "config.json").write_text(json.dumps(SMALL_TEXT))
    save_file(loaded.model.state_dict(), tmp_path / "open_clip_model.safetensors")
    assert not load_clip(MULTILINGUAL, str(tmp_path)).random
    assert build_clip(MULTILINGUAL).visual is not None
    assert not caplog.records


def test_without_transformers_it_is_said_and_no_network_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for build in (lambda: load_clip(MULTILINGUAL, "random:0"), lambda: build_clip(MULTILINGUAL)):
        with pytest.raises(ModelError, match="needs transformers, which is not installed"):
            build()


def test_weights_that_are_not_here_are_not_fetched() -> None:
    with pytest.raises(ModelError, match="are not on this machine; get them with"):
        load_clip(PLAIN)
