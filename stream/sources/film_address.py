"""Addresses of drawn films: `scheme://cells?field=value&...`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from stream.errors import UsageError
from stream.synth import CellFilmSpec

_SPEC_KINDS: Final[dict[str, str]] = {
    item.name: str(item.type) for item in dataclasses.fields(CellFilmSpec)
}
OWN_KINDS: Final = {"live": "bool", "frames": "int", "seconds": "float"}
"""Fields that are about the stream, not about what is drawn."""

_WORDS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class FilmAddress:
    """What an address says."""

    spec: CellFilmSpec
    own: dict[str, Any]
    """The fields beside those of the film that were given."""

    @property
    def live(self) -> bool:
        """Whether frames come on a clock of their own."""
        return bool(self.own.get("live", True))

    @property
    def frames_total(self) -> int | None:
        """After how many frames it ends; None: never."""
        limits = [self.own["frames"]] if "frames" in self.own else []
        if "seconds" in self.own:
            limits.append(max(1, round(self.own["seconds"] * self.spec.fps)))
        return min(limits) if limits else None


def parse_film(uri: str, kinds: Mapping[str, str]) -> FilmAddress:
    """Read the address of a drawn film.

    Args:
        uri: `scheme://cells?field=value&...`.
        kinds: Fields beside those of the film, and whether each is `bool`, `int` or `float`.

    Raises:
        UsageError: The film, a field or a value is not accepted.
    """
    parts = urlsplit(uri)
    if parts.netloc != "cells" or parts.path not in ("", "/"):
        raise UsageError(f"{uri}: no such film; accepted is {parts.scheme}://cells")
    accepted = ", ".join([*_SPEC_KINDS, *kinds])
    spec: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        if key in _SPEC_KINDS:
            spec[key] = _value(uri, key, text, _SPEC_KINDS[key])
        elif key in kinds:
            own[key] = _value(uri, key, text, kinds[key])
        else:
            raise UsageError(f"{uri}: no such field {key!r}; accepted are {accepted}")
    for key in ("frames", "seconds"):
        if key in own and not 0 < own[key] < 1e9:
            raise UsageError(f"{uri}: {key}={own[key]} is not accepted; it must be more than 0")
    try:
        return FilmAddress(CellFilmSpec(**spec), own)
    except ValueError as error:
        raise UsageError(f"{uri}: {error}") from error


def _value(uri: str, key: str, text: str, kind: str) -> Any:
    try:
        if kind == "bool":
            return _WORDS[text.lower()]
        if kind == "int":
            return int(text)
        return float(text) if kind.startswith("float") else text
    except (ValueError, KeyError):
        wanted = {"bool": "0 or 1", "int": "a whole number"}.get(kind, "a number")
        raise UsageError(f"{uri}: {key}={text!r} is not accepted; {wanted} is needed") from None
