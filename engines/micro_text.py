"""Byte-level tokenizer of the micro CLIP: any language, no vocabulary file."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import torch
from torch import Tensor

#: Token ids: padding is 0, byte b is b + 1, then start and end. The end has the highest id because
#: CLIP's pooling looks for it.
PAD = 0
START = 257
END = 258
VOCABULARY = 259
CONTEXT_LENGTH = 64


class ByteTokenizer:
    """Turns texts into UTF-8 bytes, framed by start and end tokens.

    Args:
        context_length: tokens of one text, start and end included; longer texts are cut at a
            character's end.
    """

    def __init__(self, context_length: int = CONTEXT_LENGTH) -> None:
        if context_length < 3:
            raise ValueError(
                f"context_length {context_length} leaves no room for text; accepted is 3 or more"
            )
        self.context_length = context_length
        self.vocab_size = VOCABULARY

    def encode(self, text: str) -> list[int]:
        """Byte tokens of one text without start and end.

        Case and width of letters do not matter.
        """
        plain = unicodedata.normalize("NFKC", text).casefold().strip()
        return [byte + 1 for byte in plain.encode("utf-8")]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of a row of tokens; stops at the end token and drops a character cut in two."""
        data = bytearray()
        for token in tokens:
            if token == END:
                break
            if 1 <= token <= 256:
                data.append(token - 1)
        return data.decode("utf-8", errors="ignore")

    def __call__(self, texts: str | Iterable[str]) -> Tensor:
        """Tokenize.

        Returns:
            (N, context_length) int64.
        """
        rows = [texts] if isinstance(texts, str) else list(texts)
        out = torch.full((len(rows), self.context_length), PAD, dtype=torch.long)
        for row, text in enumerate(rows):
            tokens = self.encode(text)
            room = self.context_length - 2
            if len(tokens) > room:
                whole = bytes(t - 1 for t in tokens[:room]).decode("utf-8", errors="ignore")
                tokens = [byte + 1 for byte in whole.encode("utf-8")]
            framed = [START, *tokens, END]
            out[row, : len(framed)] = torch.tensor(framed)
        return out
