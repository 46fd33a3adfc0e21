from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engines import texts as module
from engines.build import build_clip
from engines.errors import ModelError
from engines.micro_text import ByteTokenizer
from engines.multilingual import build_multilingual, byte_tokenizer, json_tokenizer
from engines.phrases import split_phrases
from engines.texts import DEFAULT_NEGATIVES, TextBank, text_bank


class Counting:
    """A model of which the vector of a text is its letters' counts; counts the texts encoded."""

    def __init__(self) -> None:
        self.logit_scale = torch.zeros(())
        self.encoded: list[str] = []

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        self.encoded.extend(texts)
        return ByteTokenizer()(texts)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.bincount(row, minlength=260) for row in tokens]).float()


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def bank(model: Counting) -> TextBank:
    return TextBank(model, model.tokenize, ("{}", "a {}"), ("wall", ""), ["cat"])


@pytest.mark.parametrize(
    ("line", "phrases"),
    [
        ("a red car. a person on a bicycle.", ("a red car", "a person on a bicycle")),
        ("cell", ("cell",)),
        ("a 2.5 mm screw; sam2.1", ("a 2.5 mm screw", "sam2.1")),
        ("紅色的大狗。貓；人", ("紅色的大狗", "貓", "人")),
        ("a dog.  a dog.\n\n a  cat ", ("a dog", "a cat")),
        (" . ; ", ()),
    ],
)
def test_a_line_is_split_into_phrases(line: str, phrases: tuple[str, ...]) -> None:
    assert split_phrases(line) == phrases


def test_templates_are_averaged_as_unit_vectors(bank: TextBank, model: Counting) -> None:
    found = bank.embed(["dog", "cat"])
    unit = [model.encode_text(ByteTokenizer()([t])).float() for t in ("dog", "a dog")]
    mean = sum(v[0] / v[0].norm() for v in unit)
    assert torch.allclose(found[0], mean / mean.norm(), atol=1e-6)
    assert torch.allclose(found.norm(dim=1), torch.ones(2))


def test_the_empty_text_goes_into_no_template(bank: TextBank, model: Counting) -> None:
    bank.embed([""])
    assert model.encoded == [""]


def test_a_text_is_encoded_once(bank: TextBank, model: Counting) -> None:
    first = bank.embed(["dog", "cat"])
    count = len(model.encoded)
    assert torch.equal(bank.embed(["cat", "dog"]), first.flip(0))
    assert len(model.encoded) == count == 4


def test_texts_change_one_at_a_time(bank: TextBank, model: Counting) -> None:
    bank.embed([*bank.texts, *bank.negatives])
    model.encoded.clear()
    assert bank.add("dog") == 1
    assert bank.add("dog") == 1, "what is there already changes nothing"
    assert bank.edit("cat", "bird") == 2
    assert bank.add("floor", negative=True) == 3
    assert bank.edit("wall", "sky", negative=True) == 4
    assert bank.remove("dog") == 5
    assert bank.texts == ("bird",)
    assert bank.negatives == ("sky", "", "floor")
    assert bank.revision == 5
    new = ("dog", "bird", "floor", "sky")
    assert model.encoded == [filled for text in new for filled in (text, f"a {text}")]
    bank.embed([*bank.texts, *bank.negatives])
    assert len(model.encoded) == 2 * len(new), "nothing is encoded again"


def test_changes_that_cannot_be_are_said(bank: TextBank) -> None:
    with pytest.raises(ModelError, match="'dog' is not among the texts; there are 'cat'"):
        bank.remove("dog")
    with pytest.raises(ModelError, match="'cat' is not among the negatives; there are 'wall', ''"):
        bank.edit("cat", "dog", negative=True)
    with pytest.raises(ModelError, match="is blank"):
        bank.add("  ")
    with pytest.raises(ModelError, match="is blank"):
        bank.edit("cat", "")
    bank.add("dog")
    with pytest.raises(ModelError, match="'dog' is there already"):
        bank.edit("cat", "dog")
    bank.remove("wall", negative=True)
    with pytest.raises(ModelError, match="the last negative"):
        bank.remove("", negative=True)
    assert bank.revision == 2
    with pytest.raises(ModelError, match="no text is given"):
        bank.embed([])


def test_the_cache_is_bounded_and_keeps_what_is_in_use(
    bank: TextBank, model: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED_TEXTS", 5)
    bank.embed([*bank.texts, *bank.negatives])
    bank.embed([f"text {i}" for i in range(20)])
    assert len(bank._cache) == 5
    model.encoded.clear()
    bank.embed([*bank.texts, *bank.negatives, "text 19"])
    assert model.encoded == []


def test_a_template_needs_a_place(model: Counting) -> None:
    with pytest.raises(ModelError, match=r"has no \{\}"):
        TextBank(model, model.tokenize, ("a photo",))


def test_the_default_negatives_are_stuff_fragments_and_nothing() -> None:
    assert {"background", "sky", "fragment", ""} <= set(DEFAULT_NEGATIVES)


def test_micro_takes_any_language() -> None:
    bank = text_bank(build_clip("micro"), "micro")
    vectors = bank.embed(["細胞", "cell", "клетка"])
    assert vectors.shape == (3, 128)
    assert (vectors @ vectors.T).triu(1).max() < 0.9999


# -- text towers of transformers -----------------------------------------------------------------

SHAPE = {
    "model_type": "xlm-roberta", "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 90,
    "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
NAME = "xlm-roberta-base-ViT-B-32"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)


@pytest.fixture
def small_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    """The multilingual model with a shallow image tower."""
    import open_clip

    config = open_clip.get_model_config(NAME)
    config["vision_cfg"]["layers"] = 1
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, NAME, config)


def word_tokenizer(path: Path) -> None:
    """Write a tokenizer.json that knows four words."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "red": 4, "dog": 5, "狗": 6, "a": 7}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.save(str(path))


def test_without_transformers_the_extra_and_the_file_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError) as caught:
        build_multilingual(NAME, None)
    assert "pip install 'maskcast[multilingual]'" in str(caught.value)
    assert "tokenizer.json beside the weights" in str(caught.value)


@pytest.mark.usefixtures("no_network")
def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        json_tokenizer(None, NAME, tmp_path)
    text = str(caught.value)
    assert f"put the tokenizer.json of xlm-roberta-base into {tmp_path}" in text
    assert "huggingface-cli download xlm-roberta-base tokenizer.json" in text
    assert "maskcast[multilingual]" in text


@pytest.mark.usefixtures("no_network")
def test_a_text_tower_of_unknown_shape_names_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace())
    with pytest.raises(
        ModelError, match=r"put the config.json and the tokenizer.json of google/mt"
    ):
        build_multilingual("mt5-base-ViT-B-32", None)


def test_bytes_stand_in_for_the_words_of_random_weights() -> None:
    tokens = byte_tokenizer(
        SimpleNamespace(text=SimpleNamespace(config=SimpleNamespace(pad_token_id=1)))
    )
    rows = tokens(["狗", "dog"])
    assert rows.shape == (2, 77)
    assert (rows[1] != 1).sum() == 5, "three letters between start and end"
    assert rows.max() < 300


@pytest.mark.usefixtures("no_network", "small_tower")
def test_a_folder_gives_text_tower_and_tokenizer_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(SHAPE))
    word_tokenizer(tmp_path / "tokenizer.json")
    torch.manual_seed(0)
    model = build_multilingual(NAME, tmp_path)
    bank = text_bank(model, NAME, str(tmp_path / "open_clip_model.safetensors"))
    tokens = bank._tokenizer(["a red  狗", "dog"])
    assert tokens.shape == (2, 77)
    assert tokens[0, :6].tolist() == [0, 7, 4, 6, 2, 1]
    vectors = bank.embed(["狗", "dog"])
    assert vectors.shape == (2, 512)
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)
    assert text_bank(model, NAME, "random:0").embed(["狗"]).shape == (1, 512)
