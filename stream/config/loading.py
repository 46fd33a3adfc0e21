"""From a YAML file and the command line to a checked configuration, or one clear line."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from stream.config.run import Config
from stream.errors import ConfigError, UsageError


def load(path: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Load a configuration file and put command-line values over it.

    Args:
        path: YAML file; None starts from the defaults.
        overrides: Values by dotted key, for example `{"source.uri": "film.mp4"}`.

    Raises:
        UsageError: The file is missing or is not YAML.
        ConfigError: A key or a value is not accepted.
    """
    data = _read(path) if path is not None else {}
    for key, value in (overrides or {}).items():
        _put(data, key, value)
    return check(data)


def check(data: dict[str, Any]) -> Config:
    """Check plain data against the model.

    Raises:
        ConfigError: Names the first key that is wrong, and what it accepts.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "config"
        if first["type"] == "extra_forbidden":
            raise ConfigError(key, _unknown(key)) from error
        raise ConfigError(key, f"{first['input']!r} is not accepted: {_reason(first)}") from error


def _reason(detail: Any) -> str:
    message = str(detail["msg"])
    return message.removeprefix("Value error, ").replace("Input should be", "it should be")


def _unknown(key: str) -> str:
    *parents, name = key.split(".")
    section: type[BaseModel] = Config
    for part in parents:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        section = annotation
    names = list(section.model_fields)
    close = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"no such key; {guess}accepted are {', '.join(names)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a YAML file: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"{path}: holds a {type(data).__name__}; a map of keys is needed")
    return data


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for part in parents:
        inner = data.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(part, f"{inner!r} is not accepted: it should be a map of keys")
        data = inner
    data[name] = value
