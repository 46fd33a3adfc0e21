"""Recipes: a YAML file with values from the command line over it, as one checked model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stream.errors import ConfigError, UsageError

Model = TypeVar("Model", bound=BaseModel)


def load_recipe(
    kind: type[Model],
    path: Path | None,
    overrides: Mapping[str, Any],
    needed: Mapping[str, str] = MappingProxyType({}),
) -> Model:
    """Load a recipe.

    Args:
        kind: The recipe's model; sections of it may be models themselves.
        path: A YAML file; None starts from the defaults.
        overrides: Values by key, dotted for those of a section; None says nothing.
        needed: Keys without a default, and what is said where one is not given.

    Raises:
        UsageError: The file is missing or no YAML map, or a needed key is not given.
        ConfigError: A key or a value is not accepted.
    """
    values = _read(path) if path is not None else {}
    for key, value in overrides.items():
        if value is not None:
            _put(values, key.split("."), value)
    for key, said in needed.items():
        if key not in values:
            raise UsageError(said)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _explained(error, kind) from error


def _put(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            return
        values = inner
    values[keys[-1]] = value


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; a recipe is a YAML file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: holds no keys; a map of the recipe's keys is needed")
    return values


def _explained(error: ValidationError, kind: type[BaseModel]) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "recipe"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), _keys(kind, first["loc"][:-1]), 1)
        return ConfigError(
            key, "there is no such key" + (f"; did you mean {near[0]}?" if near else "")
        )
    reason = str(first["msg"]).removeprefix("Value error, ").replace("Input should be", "needed is")
    if not first["loc"]:
        return ConfigError(key, reason)
    return ConfigError(key, f"{first['input']!r} is not accepted: {reason}")


def _keys(kind: type[BaseModel], way: tuple[int | str, ...]) -> list[str]:
    """Names of the keys where a wrong one was found."""
    here: Any = kind
    for part in way:
        field = here.model_fields.get(str(part)) if hasattr(here, "model_fields") else None
        here = field.annotation if field is not None else None
    return list(here.model_fields) if hasattr(here, "model_fields") else []
