"""Masks of the Cell Tracking Challenge, numbered anew in each frame, joined to the tracks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.readers.faults import SampleError
from train.readers.pixels import object_ids, read_ids, size_text
from train.readers.samples import IGNORE, Ids


@dataclass(frozen=True, slots=True)
class Joined:
    """One frame's masks under the ids of the tracks.

    Attributes:
        ids: (H, W) uint16; masks of no track are ignored pixels.
        unmasked: tracks that have a marker here and no mask.
        strangers: how many masks are no track's.
    """

    ids: Ids
    unmasked: tuple[int, ...]
    strangers: int


def truth_files(markers: Path) -> list[Path]:
    """Return the files with a frame's masks, the best first: gold truth, then silver truth."""
    name = markers.name.replace("man_track", "man_seg")
    gold = markers.parent.parent
    silver = gold.with_name(gold.name.removesuffix("_GT") + "_ST")
    return [path for path in (gold / "SEG" / name, silver / "SEG" / name) if path.is_file()]


def read_cells(path: Path, *, allow_markers: bool) -> Ids:
    """Decode one frame's truth from the file of its markers.

    Args:
        path: man_track000.tif; the masks lie in folders beside it.
        allow_markers: Tracks without a mask keep their marker as one, else they are ignored.

    Returns:
        (H, W) uint16 ids of tracks.

    Raises:
        SampleError: A file went bad since it was checked.
    """
    markers = read_ids(path)
    joined = join_tracks(path, markers)
    ids = joined.ids
    bare = np.isin(markers, joined.unmasked)
    ids[bare] = markers[bare] if allow_markers else IGNORE
    return ids


def join_tracks(path: Path, markers: Ids) -> Joined:
    """Give a frame's masks the ids of the tracks whose markers they cover by more than half.

    Args:
        path: The file of the markers.
        markers: (H, W) uint16, what it holds.

    Raises:
        SampleError: A mask cannot be read or has another size.
    """
    ids = np.zeros_like(markers)
    left = object_ids(markers)
    strangers = 0
    for file in truth_files(path):
        masks = read_ids(file)
        if masks.shape != markers.shape:
            sizes = [size_text((item.shape[0], item.shape[1])) for item in (masks, markers)]
            raise SampleError(file, f"is {sizes[0]}, its markers {path.name} {sizes[1]}")
        owners = match_markers(masks, markers)
        track_of = np.zeros(int(masks.max()) + 1, np.uint16)
        for mask in object_ids(masks):
            track_of[mask] = owners.get(mask, IGNORE)
            strangers += mask not in owners
        tracks = track_of[masks]
        # Gold masks stay; of silver ones only the cells are added that gold does not know.
        new = (ids == 0) & (np.isin(tracks, left) | (tracks == IGNORE))
        ids[new] = tracks[new]
        left = [track for track in left if track not in owners.values()]
    return Joined(ids, tuple(left), strangers)


def match_markers(masks: Ids, markers: Ids) -> dict[int, int]:
    """Return mask -> track where a mask covers more than half of the track's marker.

    Of several markers in one mask the one that fills most of it counts.
    """
    both = (masks > 0) & (markers > 0)
    pairs, shared = np.unique(np.stack((masks[both], markers[both])), axis=1, return_counts=True)
    whole = np.bincount(markers.ravel())
    best: dict[int, tuple[int, int]] = {}
    for mask, track, pixels in zip(*pairs.tolist(), shared.tolist(), strict=True):
        if 2 * pixels > whole[track] and pixels > best.get(mask, (0, 0))[0]:
            best[mask] = (pixels, track)
    return {mask: track for mask, (_, track) in best.items()}
