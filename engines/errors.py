"""Errors of the models' side. They say the value, what is accepted and what to do."""

from __future__ import annotations


class ModelError(ValueError):
    """A model, its name or its weights cannot be used as asked."""

    def __str__(self) -> str:
        """Return the message on one line."""
        return " ".join(super().__str__().split())


def gist(error: BaseException) -> str:
    """Return what an error says, on one line: of torch's about weights the first that is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:200].rstrip(" .,;") or type(error).__name__
