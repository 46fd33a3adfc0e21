"""Kinds of values that sections share: words, numbers with bounds, names of backends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from engines.phrases import split_phrases


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("names must be valid UTF-8; rename the file or the folder") from None
    return text


def _writable_path(path: Path) -> Path:
    _writable(str(path))
    return path


def _words(text: str) -> str:
    _writable(text)
    if not split_phrases(text):
        raise ValueError("a text must contain at least one word")
    return " ".join(text.split())


Name = Annotated[str, AfterValidator(_writable)]
Folder = Annotated[Path, AfterValidator(_writable_path)]
Text = Annotated[str, AfterValidator(_words)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0)]
Backend = Literal["auto", "torch", "openvino", "onnxruntime", "tensorrt"]


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values are checked on assignment."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)
