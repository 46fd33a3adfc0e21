"""Text files of data sets: lines and CSV tables, with the number of every bad line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from train.readers.survey import Survey


def read_lines(path: Path, survey: Survey) -> list[tuple[int, str]]:
    """Return the numbered lines of a UTF-8 file, with or without a byte order mark.

    A line that is not UTF-8 is a fault and left out.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        survey.fault(path, f"cannot be read: {error.strerror or error}")
        return []
    lines = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            lines.append((number, line.decode("utf-8")))
        except UnicodeDecodeError as error:
            byte = line[error.start]
            survey.fault(
                path, f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8", f"line {number}"
            )
    return lines


def read_table(
    path: Path, columns: Sequence[str], survey: Survey
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and row of a CSV file with a header line.

    Args:
        path: The file.
        columns: Those that must be there; others are passed on as they are.
        survey: Takes the faults: missing columns, rows that are too short.
    """
    lines = read_lines(path, survey)
    if not lines:
        survey.fault(path, f"is empty; expected columns {', '.join(columns)}")
        return
    header = [name.strip() for name in next(csv.reader([lines[0][1]]))]
    missing = [name for name in columns if name not in header]
    if missing:
        survey.fault(
            path,
            f"has no column {', '.join(missing)}; it has {', '.join(header)}; "
            f"expected {', '.join(columns)}",
            "line 1",
        )
        return
    for number, line in lines[1:]:
        values = [value.strip() for value in next(csv.reader([line]), [])]
        if not any(values):
            continue
        if len(values) != len(header):
            survey.fault(
                path, f"has {len(values)} values for {len(header)} columns", f"line {number}"
            )
            continue
        yield number, dict(zip(header, values, strict=True))


def whole_number(text: str, low: int, high: int) -> int | None:
    """Return a whole number within bounds, or None where the text is none."""
    if not text.isascii() or not text.isdigit():
        return None
    value = int(text) if len(text) < 20 else high + 1
    return value if low <= value <= high else None
