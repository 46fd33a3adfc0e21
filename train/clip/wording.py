"""When two texts say the same, and how labels become texts."""

from __future__ import annotations

import re
import unicodedata

TEMPLATES = ("{}", "a photo of {}")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b\s*")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_EDGES = " .。,，;；!！"


def text_key(text: str) -> str:
    """Return what is left of a text when case, articles, white space and letter width are not told.

    Simplified and traditional characters stay apart. Texts of one key are the same caption.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = " ".join(_ARTICLE.sub("", plain).split()).strip(_EDGES)
    # A text of articles only ("The A") still has to be told from the empty one.
    return words or " ".join(plain.split())


def is_chinese(text: str) -> bool:
    """Whether a text has Han characters."""
    return _HAN.search(text) is not None


def label_texts(label: str) -> tuple[str, ...]:
    """Return the texts that a label is trained under; Chinese labels stay as they are."""
    if is_chinese(label):
        return (label,)
    return tuple(template.format(label) for template in TEMPLATES)
