"""Texts to unit vectors: what is asked for, and what it is weighed against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from engines.errors import ModelError

# Stuff and fragments, so that a text has something to lose against (notes of SCLIP and NACLIP).
DEFAULT_NEGATIVES = (
    "background", "sky", "wall", "tree", "wood", "grass", "road", "sea", "river", "mountain",
    "sand", "desk", "floor", "building", "cloud", "water", "ceiling", "window", "curtain", "fence",
    "fragment", "",
)  # fmt: skip
MICRO_NEGATIVES = ("background", "empty", "debris", "")
TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "there is a {} in the scene.", "{}")
MICRO_TEMPLATES = ("{}",)

Tokenizer = Callable[[Sequence[str]], torch.Tensor]


class TextBank:
    """Embeds texts once and keeps them.

    Args:
        model: An open_clip model.
        tokenizer: Its tokenizer: texts to (N, L) token ids.
        templates: Each text is put into each of them and the embeddings are averaged.
        negatives: Texts that every question is weighed against, besides the user's own.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        templates: Sequence[str] = TEMPLATES,
        negatives: Sequence[str] = DEFAULT_NEGATIVES,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._templates = tuple(templates)
        self._cache: dict[str, torch.Tensor] = {}
        self.default_negatives = tuple(negatives)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (N, D) unit vectors.

        Raises:
            ModelError: No text is given.
        """
        if not texts:
            raise ModelError("no text is given; say what to look for, for example 'cell'")
        for text in texts:
            if text not in self._cache:
                self._cache[text] = self._embed_one(text)
        return torch.stack([self._cache[text] for text in texts])

    def _embed_one(self, text: str) -> torch.Tensor:
        # The empty string stands for itself: in a template it would ask for nothing in words.
        filled = [t.format(text) for t in self._templates] if text else [""]
        vectors = self._model.encode_text(self._tokenizer(filled)).float()
        return F.normalize(F.normalize(vectors, dim=-1).mean(0), dim=-1)


def text_bank(model: Any, name: str) -> TextBank:
    """Return the bank of a model by its name: `micro`, or an open_clip architecture[/tag]."""
    if name == "micro":
        from engines.micro_text import ByteTokenizer

        return TextBank(model, ByteTokenizer(), MICRO_TEMPLATES, MICRO_NEGATIVES)
    import open_clip

    try:
        tokenizer = open_clip.get_tokenizer(name.partition("/")[0])
    except (ImportError, OSError, ValueError) as error:
        raise ModelError(
            f"{name}: its tokenizer cannot be loaded ({type(error).__name__}); models with a "
            "transformers tokenizer need `pip install maskcast[multilingual]` and its files in "
            "the local hub cache"
        ) from error
    return TextBank(model, tokenizer)
