"""Texts to unit vectors: what is asked for, and what it is weighed against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from engines.checkpoint import RANDOM
from engines.contrasts import micro_contrasts
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
CACHED_TEXTS = 1024

Tokenizer = Callable[[Sequence[str]], torch.Tensor]
Contrasts = Callable[[str], tuple[str, ...]]


def no_contrasts(text: str) -> tuple[str, ...]:
    """Say nothing instead."""
    del text
    return ()


class TextBank:
    """Embeds texts once and keeps them; holds the texts and negatives in use.

    Args:
        model: An open_clip model.
        tokenizer: Its tokenizer: texts to (N, L) token ids.
        templates: Each text is put into each of them and the embeddings are averaged.
        negatives: Texts that every question is weighed against, besides the user's own.
        texts: What is asked for at first.
        encode: Tokens (N, L) to vectors (N, D) by other means than the model's own tower.
        contrasts: A text to those that could have been said instead (`engines.contrasts`).

    Raises:
        ModelError: A template has no place for the text.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        templates: Sequence[str] = TEMPLATES,
        negatives: Sequence[str] = DEFAULT_NEGATIVES,
        texts: Sequence[str] = (),
        encode: Callable[[torch.Tensor], torch.Tensor] | None = None,
        contrasts: Contrasts = no_contrasts,
    ) -> None:
        self.contrasts = contrasts
        self._encode = encode or model.encode_text
        for template in templates:
            if "{}" not in template:
                raise ModelError(f"template {template!r} has no {{}}, where the text would go")
        self._model = model
        self._tokenizer = tokenizer
        self._templates = tuple(templates)
        self._cache: dict[str, torch.Tensor] = {}
        self._texts = list(dict.fromkeys(texts))
        self._negatives = list(dict.fromkeys(negatives))
        self._revision = 0
        self.default_negatives = tuple(self._negatives)

    @property
    def texts(self) -> tuple[str, ...]:
        """What is asked for now."""
        return tuple(self._texts)

    @property
    def negatives(self) -> tuple[str, ...]:
        """What it is weighed against now."""
        return tuple(self._negatives)

    @property
    def revision(self) -> int:
        """How often the texts and negatives have changed."""
        return self._revision

    def add(self, text: str, *, negative: bool = False) -> int:
        """Add a text; one that is there already changes nothing.

        Returns:
            The revision.

        Raises:
            ModelError: The text is blank; a negative may be the empty string.
        """
        held = self._held(negative)
        self._require_words(text, negative)
        if text not in held:
            self.embed([text])
            held.append(text)
            self._revision += 1
        return self._revision

    def edit(self, old: str, new: str, *, negative: bool = False) -> int:
        """Put a text in the place of another; the others are not encoded again.

        Returns:
            The revision.

        Raises:
            ModelError: `old` is not there, or `new` is blank or there already.
        """
        held = self._held(negative)
        place = self._place(old, negative)
        self._require_words(new, negative)
        if new == old:
            return self._revision
        if new in held:
            raise ModelError(f"{new!r} is there already; remove {old!r} instead")
        self.embed([new])
        held[place] = new
        self._revision += 1
        return self._revision

    def remove(self, text: str, *, negative: bool = False) -> int:
        """Take a text out.

        Returns:
            The revision.

        Raises:
            ModelError: The text is not there, or is the last negative.
        """
        held = self._held(negative)
        place = self._place(text, negative)
        if negative and len(held) == 1:
            raise ModelError(f"{text!r} is the last negative; texts need one to lose against")
        del held[place]
        self._revision += 1
        return self._revision

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
        found = torch.stack([self._cache[text] for text in texts])
        self._forget()
        return found

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the tokens (N, L) int64 of texts as they are, without templates."""
        out: torch.Tensor = self._tokenizer(list(texts)).to(self._model.logit_scale.device)
        return out

    def _embed_one(self, text: str) -> torch.Tensor:
        # The empty string stands for itself: in a template it would ask for nothing in words.
        tokens = self.tokenize([t.format(text) for t in self._templates] if text else [""])
        vectors = self._encode(tokens).float()
        return F.normalize(F.normalize(vectors, dim=-1).mean(0), dim=-1)

    def _forget(self) -> None:
        """Drop the oldest embeddings beyond the limit, those in use excepted."""
        surplus = len(self._cache) - CACHED_TEXTS
        used = {*self._texts, *self._negatives}
        for text in [t for t in self._cache if t not in used][: max(surplus, 0)]:
            del self._cache[text]

    def _held(self, negative: bool) -> list[str]:
        return self._negatives if negative else self._texts

    def _place(self, text: str, negative: bool) -> int:
        held = self._held(negative)
        if text not in held:
            there = ", ".join(map(repr, held[:8])) or "none"
            kind = "negatives" if negative else "texts"
            raise ModelError(f"{text!r} is not among the {kind}; there are {there}")
        return held.index(text)

    @staticmethod
    def _require_words(text: str, negative: bool) -> None:
        if not text.strip() and not (negative and text == ""):
            raise ModelError(f"text {text!r} is blank; say what to look for, for example 'cell'")


def text_bank(
    model: Any,
    name: str,
    origin: str = "",
    encode: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> TextBank:
    """Return the bank of a model by its name: `micro`, or an open_clip architecture[/tag].

    Args:
        model: The model.
        name: Its name.
        origin: Where its weights came from, as `registry.Loaded.origin` says it: the tokenizer of
            a multilingual model is looked for beside them. For `random:SEED` bytes serve as its
            tokens, since such weights know no words.
        encode: See `TextBank`.

    Raises:
        ModelError: The tokenizer cannot be had without a network.
    """
    if name == "micro":
        from engines.micro_text import ByteTokenizer

        return TextBank(
            model, ByteTokenizer(), MICRO_TEMPLATES, MICRO_NEGATIVES,
            encode=encode, contrasts=micro_contrasts,
        )  # fmt: skip
    from engines.multilingual import byte_tokenizer, json_tokenizer, text_config

    architecture = name.partition("/")[0]
    text = text_config(architecture)
    if "hf_model_name" in text:
        if origin.startswith(RANDOM):
            return TextBank(model, byte_tokenizer(model), encode=encode)
        folder = Path(origin).parent if origin else None
        return TextBank(model, json_tokenizer(model, architecture, folder), encode=encode)
    import open_clip

    try:
        tokenizer = open_clip.get_tokenizer(architecture)
    except (ImportError, OSError, ValueError) as error:
        raise ModelError(
            f"{name}: its tokenizer cannot be loaded ({type(error).__name__}); take a model with "
            "open_clip's own tokenizer, such as ViT-B-32, or xlm-roberta-base-ViT-B-32"
        ) from error
    return TextBank(model, tokenizer, encode=encode)
