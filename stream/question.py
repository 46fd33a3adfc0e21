"""What is asked for, from the words in which people say it."""

from __future__ import annotations

from collections.abc import Iterable

from engines.phrases import split_phrases
from stream.config import Config
from stream.contracts import Question


def phrases_of(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the phrases of several lines in their order, each once.

    Args:
        lines: Each holds one phrase or more, as in "a red car. a person on a bicycle."
    """
    return tuple(dict.fromkeys(phrase for line in lines for phrase in split_phrases(line)))


def question_of(config: Config) -> Question:
    """Return the question that a run begins with."""
    return Question(phrases_of(config.texts), phrases_of(config.negatives))
