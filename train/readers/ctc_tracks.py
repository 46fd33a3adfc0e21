"""`man_track.txt` of the Cell Tracking Challenge: which track is where, and whose child it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from train.readers.samples import MAX_OBJECTS
from train.readers.survey import Survey
from train.readers.tables import read_lines, whole_number

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class TrackRow:
    """One line: a track, its first and last frame, and its parent (0: none)."""

    line: int
    first: int
    last: int
    parent: int


def read_tracks(path: Path, survey: Survey) -> dict[int, TrackRow]:
    """Read the table: track -> row."""
    rows: dict[int, TrackRow] = {}
    for line, text in read_lines(path, survey):
        if not text.strip():
            continue
        values = [whole_number(word, 0, MAX_OBJECTS) for word in text.split()]
        at = f"line {line}"
        if len(values) != 4 or None in values or not values[0]:
            survey.fault(
                path, f"is {text.strip()!r}; expected L B E P, whole numbers up to 65534", at
            )
            continue
        track, first, last, parent = (value or 0 for value in values)
        if track in rows:
            survey.fault(path, f"track {track} is also in line {rows[track].line}", at)
        elif first > last:
            survey.fault(path, f"track {track} begins in frame {first} and ends in {last}", at)
        else:
            rows[track] = TrackRow(line, first, last, parent)
    for track, row in rows.items():
        parent_row = rows.get(row.parent)
        if row.parent and parent_row is None:
            survey.fault(
                path, f"the parent {row.parent} of track {track} is no track", f"line {row.line}"
            )
        elif parent_row is not None and parent_row.last >= row.first:
            survey.fault(
                path,
                f"track {track} begins in frame {row.first}, its parent {row.parent} ends in "
                f"{parent_row.last}; accepted are earlier ends",
                f"line {row.line}",
            )
    return rows


def check_presence(
    rows: Mapping[int, TrackRow],
    presence: Mapping[int, tuple[int, ...]],
    path: Path,
    survey: Survey,
    *,
    whole: bool,
) -> None:
    """Compare the table with the markers.

    Args:
        rows: The table.
        presence: Frame number -> tracks that have a marker in it.
        path: The table's file.
        survey: Takes the faults.
        whole: Whether all frames of the film were looked at.
    """
    seen: dict[int, set[int]] = {}
    for frame, tracks in presence.items():
        for track in tracks:
            seen.setdefault(track, set()).add(frame)
    for track in sorted(seen.keys() - rows.keys()):
        survey.fault(path, f"track {track} is not listed, frame {min(seen[track])} has it")
    for track, row in rows.items():
        told = set(range(row.first, row.last + 1))
        frames = told if whole else told & presence.keys()
        found = seen.get(track, set())
        at = f"line {row.line}"
        if frames - found:
            survey.fault(path, f"track {track} has no marker in frames {_text(frames - found)}", at)
        if found - told:
            survey.fault(
                path,
                f"track {track} is told for frames {row.first} to {row.last} and is in "
                f"{_text(found - told)}",
                at,
            )


def parents(rows: Mapping[int, TrackRow], tracks: set[int]) -> dict[int, int]:
    """Return child -> parent of the tracks that were seen."""
    return {
        track: row.parent
        for track, row in rows.items()
        if row.parent and track in tracks and row.parent in tracks
    }


def _text(frames: set[int]) -> str:
    ordered = sorted(frames)
    more = len(ordered) - _SHOWN
    shown = ", ".join(map(str, ordered[:_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown
