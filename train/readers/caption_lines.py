"""`captions.txt`: lines such as `name.jpg: a large red dog`, several an image if wanted."""

from __future__ import annotations

import re
from pathlib import Path

from train.readers.finder import ImageFinder
from train.readers.survey import Survey
from train.readers.tables import read_lines

# A colon with a space after it, or at the end of the line, is what is meant; others are taken where
# a file is named before them, also the wide one of Chinese keyboards.
_MEANT = re.compile(r":(?=\s|$)")
_LOOSE = re.compile(r"[:：]")


def read_captions(path: Path, finder: ImageFinder, survey: Survey) -> dict[Path, list[str]]:
    """Read the captions of all images; what is wrong goes to the survey.

    Args:
        path: The file: UTF-8, `#` begins a comment line.
        finder: Knows the images; names are their paths below its folder.
        survey: Takes the faults.

    Returns:
        Image -> its captions, in the order of the lines.
    """
    captions: dict[Path, list[str]] = {}
    seen: dict[tuple[Path, str], int] = {}
    for number, text in read_lines(path, survey):
        line, at = text.strip(), f"line {number}"
        if not line:
            continue
        found, name, caption = split_line(line, finder)
        if line.startswith("#") and not found:
            continue
        if name is None:
            survey.fault(path, f"is {_short(line)!r}; expected NAME: CAPTION", at)
        elif len(found) != 1:
            survey.fault(path, f"{_short(name)!r} {finder.problem(found)}", at)
        elif not caption:
            survey.fault(path, f"the caption of {name} is empty", at)
        elif (found[0], caption) in seen:
            survey.fault(path, f"says the same as line {seen[found[0], caption]}", at)
        else:
            seen[found[0], caption] = number
            captions.setdefault(found[0], []).append(caption)
    return captions


def split_line(line: str, finder: ImageFinder) -> tuple[list[Path], str | None, str]:
    """Split a line into name and caption.

    The name is the longest beginning before `: ` that is an image, so that names and captions may
    hold colons themselves.

    Returns:
        The images of that name, the name (None where there is no colon), and the caption with
        single spaces.
    """
    meant = [match.start() for match in _MEANT.finditer(line)]
    loose = [match.start() for match in _LOOSE.finditer(line)]
    for at in (*reversed(meant), *reversed(loose)):
        name = line[:at].strip()
        found = finder.find(name, strict=True) if name else []
        if found:
            return found, name, " ".join(line[at + 1 :].split())
    first = min(meant or loose, default=None)
    if first is None:
        return [], None, ""
    return [], line[:first].strip(), " ".join(line[first + 1 :].split())


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
