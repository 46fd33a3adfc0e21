"""CLIP models with a text tower of transformers, built and fed without a network.

open_clip asks the hub for such a tower's configuration and tokenizer even where the weights lie on
disk. Here the configuration is the folder's `config.json`, or one of the known shapes below (the
published folders have none), and the tokenizer is the folder's or the hub cache's `tokenizer.json`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engines.checkpoint import cached_on_disk
from engines.errors import ModelError
from engines.micro_text import ByteTokenizer

CONTEXT_LENGTH = 77
TOKENIZER_FILE = "tokenizer.json"

_ROBERTA: dict[str, Any] = {
    "model_type": "roberta", "vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 514,
    "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1, "bos_token_id": 0,
    "eos_token_id": 2,
}  # fmt: skip
_XLM_ROBERTA = _ROBERTA | {"model_type": "xlm-roberta", "vocab_size": 250002}
# Table 1 of Conneau et al. 2020 (arXiv 1911.02116).
_KNOWN_SHAPES: dict[str, dict[str, Any]] = {
    "roberta-base": _ROBERTA,
    "xlm-roberta-base": _XLM_ROBERTA,
    "xlm-roberta-large": _XLM_ROBERTA
    | {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}


def text_config(architecture: str) -> dict[str, Any]:
    """Return open_clip's configuration of an architecture's text tower; empty for unknown names."""
    import open_clip

    config = open_clip.get_model_config(architecture) or {}
    text: dict[str, Any] = config.get("text_cfg", {})
    return text


def build_multilingual(architecture: str, folder: Path | None) -> Any:
    """Build a model whose text tower is one of transformers, with random weights, in eval mode.

    Args:
        architecture: A name of open_clip whose `text_cfg` has `hf_model_name`.
        folder: Where `config.json` of the text tower may lie.

    Raises:
        ModelError: transformers or the text tower's configuration is missing.
    """
    try:
        import transformers  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        raise ModelError(
            f"{architecture}: its text tower needs transformers, which is not installed; "
            f"`pip install 'maskcast[multilingual]'`, and put {TOKENIZER_FILE} beside the weights"
        ) from None
    import open_clip

    config = open_clip.get_model_config(architecture)
    shape = _shape(architecture, config["text_cfg"]["hf_model_name"], folder)
    with tempfile.TemporaryDirectory() as place:
        Path(place, "config.json").write_text(json.dumps(shape))
        text = config["text_cfg"] | {"hf_model_name": place, "hf_model_pretrained": False}
        known = {key: value for key, value in config.items() if key != "custom_text"}
        model = open_clip.model.CustomTextCLIP(**(known | {"text_cfg": text}))
    return model.eval()


def _shape(architecture: str, hf_name: str, folder: Path | None) -> dict[str, Any]:
    path = folder / "config.json" if folder else None
    if path and path.is_file():
        try:
            found = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ModelError(f"{path}: not JSON ({error}); give {hf_name}'s config.json") from None
        if isinstance(found, dict) and "model_type" in found:
            return found
    if hf_name in _KNOWN_SHAPES:
        return _KNOWN_SHAPES[hf_name]
    raise ModelError(
        f"{architecture}: the shape of its text tower {hf_name} is not known here; put the "
        f"config.json and the {TOKENIZER_FILE} of {hf_name} beside the weights "
        f"({folder or 'give a folder with --clip-weights'}) and `pip install "
        "'maskcast[multilingual]'`"
    )


class JsonTokenizer:
    """Texts to token ids by a `tokenizer.json`.

    Args:
        path: The file.
        pad: Id of the padding token.
        context_length: Tokens of one text; longer texts are cut.

    Raises:
        ModelError: The package or the file cannot be used.
    """

    def __init__(self, path: Path, pad: int, context_length: int = CONTEXT_LENGTH) -> None:
        try:
            from tokenizers import Tokenizer  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise ModelError(
                f"{path}: reading it needs tokenizers; `pip install 'maskcast[multilingual]'`"
            ) from None
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises bare Exception
            raise ModelError(f"{path}: not a tokenizer ({error}); fetch it again") from error
        self._tokenizer.enable_truncation(context_length)
        self._tokenizer.enable_padding(length=context_length, pad_id=pad)

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (N, context_length) int64."""
        clean = [" ".join(text.split()) for text in texts]
        return torch.tensor([found.ids for found in self._tokenizer.encode_batch(clean)])


class ShiftedBytes:
    """Bytes as token ids above the padding's: for random weights, which know no words."""

    def __init__(self, pad: int) -> None:
        self._bytes = ByteTokenizer(CONTEXT_LENGTH)
        self._pad = pad

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (N, CONTEXT_LENGTH) int64."""
        return self._bytes(texts) + self._pad


def byte_tokenizer(model: Any) -> ShiftedBytes:
    """Return the tokenizer of a multilingual model with random weights."""
    return ShiftedBytes(int(model.text.config.pad_token_id))


def json_tokenizer(model: Any, architecture: str, folder: Path | None) -> JsonTokenizer:
    """Return a multilingual model's tokenizer, from its folder or the local hub cache.

    Raises:
        ModelError: Neither has it.
    """
    text = text_config(architecture)
    hf_name = str(text.get("hf_tokenizer_name", text["hf_model_name"]))
    path = folder / TOKENIZER_FILE if folder else None
    if path is None or not path.is_file():
        path = cached_on_disk(hf_name, (TOKENIZER_FILE,)) or cached_on_disk(
            f"FacebookAI/{hf_name}", (TOKENIZER_FILE,)
        )
    if path is None:
        raise ModelError(
            f"{architecture}: its tokenizer is not on this machine; put the {TOKENIZER_FILE} of "
            f"{hf_name} into {folder or 'the folder of the weights'}, or get it with "
            f"`huggingface-cli download {hf_name} {TOKENIZER_FILE}`, and `pip install "
            "'maskcast[multilingual]'`"
        )
    context = int(text.get("context_length", CONTEXT_LENGTH))
    return JsonTokenizer(path, int(model.text.config.pad_token_id), context)
