"""One line of text to the phrases in it; needs nothing, so that every process can do it."""

from __future__ import annotations

import re

# A stop ends a phrase before a space or the line's end only, so that "2.5 mm" stays whole.
_ENDS = re.compile(r"[.;!?](?=\s|$)|[。；！？．\n]")


def split_phrases(line: str) -> tuple[str, ...]:
    """Split one line into phrases.

    Args:
        line: Phrases that end with a stop, a semicolon or a new line, of Latin or Chinese type, as
            in "a red car. a person on a bicycle."

    Returns:
        The phrases in their order, without stops and without repetitions.
    """
    phrases = (" ".join(part.split()) for part in _ENDS.split(line))
    return tuple(dict.fromkeys(phrase for phrase in phrases if phrase))
