"""`ctc`: films of cells, as the Cell Tracking Challenge has them.

    DIR/01/t000.tif                          frames
    DIR/01_GT/TRA/man_track000.tif           a marker in every cell, its value is the track
    DIR/01_GT/TRA/man_track.txt              L B E P: track, first and last frame, parent
    DIR/01_GT/SEG/man_seg000.tif             masks of some frames, numbered anew in each
    DIR/01_ST/SEG/man_seg000.tif             masks by programs ("silver truth"), of all frames

DIR may also be a folder of such folders. Masks become those of their tracks by the challenge's
rule: a mask is a track's where it covers more than half of its marker. Where both know a cell the
gold mask is taken; a mask that is no track's is ignored. Parents go to `Dataset.lineage`. (Maska et
al. 2023, "The Cell Tracking Challenge: 10 years of objective benchmarking".)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from train.readers.ctc_masks import join_tracks, read_cells, truth_files
from train.readers.ctc_tracks import check_presence, parents, read_tracks
from train.readers.faults import SampleError
from train.readers.instances import natural_key
from train.readers.pairs import Film, Pair, film_sample
from train.readers.pixels import Size, object_ids, size_text
from train.readers.samples import Dataset, VideoSample
from train.readers.survey import Options, Survey

NAME = "ctc"
LOOKS_FOR = "01/t000.tif and 01_GT/TRA/man_track000.tif, here or in sub-folders"


def fits(root: Path) -> bool:
    """Whether a folder looks like this layout."""
    return bool(_films(root))


def read(root: Path, options: Options) -> Dataset:
    """Read a folder in this layout."""
    survey = Survey(root, options.progress)
    films = _films(root)
    if not films:
        survey.fault(root, f"expected {LOOKS_FOR}")
    videos: list[VideoSample] = []
    lineage: dict[str, Mapping[int, int]] = {}
    found = [_find_film(name, folder, options.frames, survey) for name, folder in films.items()]
    survey.begin(2 * sum(len(film.pairs) for film in found))
    for film, folder in zip(found, films.values(), strict=True):
        mark = survey.mark()
        table = folder.with_name(f"{folder.name}_GT") / "TRA" / "man_track.txt"
        rows = read_tracks(table, survey)
        presence = _check_frames(film.pairs, options.allow_markers, survey)
        if film.sound and survey.mark() == mark:
            check_presence(rows, presence, table, survey, whole=options.frames is None)
        tracks = {track for seen in presence.values() for track in seen}
        survey.count(tracks, {})
        if survey.clean_since(mark, sound=film.sound):
            reader = partial(read_cells, allow_markers=options.allow_markers)
            videos.append(film_sample(film.name, film.pairs, {}, reader))
            lineage[film.name] = parents(rows, tracks)
    return survey.dataset(NAME, videos=videos, lineage=lineage)


def _films(root: Path) -> dict[str, Path]:
    """Return name -> folder of frames, of the sequences here or in sub-folders."""
    if not root.is_dir():
        return {}
    children = sorted((item for item in root.iterdir() if item.is_dir()), key=lambda p: p.name)
    found = {}
    for base, prefix in ((root, ""), *((item, f"{item.name}/") for item in children)):
        for truth in sorted(base.glob("*_GT/TRA")):
            name = truth.parent.name.removesuffix("_GT")
            found[prefix + name] = base / name
    return found


def _find_film(name: str, folder: Path, frames_wanted: int | None, survey: Survey) -> Film:
    """Match frames and markers by their number."""
    mark = survey.mark()
    markers = folder.with_name(f"{folder.name}_GT") / "TRA"
    frames = _numbered(folder, "t")
    truths = _numbered(markers, "man_track")
    if not frames:
        survey.fault(folder, "has no frames; expected t000.tif")
    for number, path in frames.items():
        if number not in truths:
            survey.fault(
                path, f"has no markers {survey.name(markers)}/man_track{path.stem[1:]}.tif"
            )
    for number, path in truths.items():
        if frames and number not in frames:
            digits = path.stem.removeprefix("man_track")
            survey.fault(path, f"has no frame {survey.name(folder)}/t{digits}.tif")
    pairs = [Pair(path, truths[number]) for number, path in frames.items() if number in truths]
    return Film(name, pairs[:frames_wanted], sound=survey.mark() == mark)


def _numbered(folder: Path, head: str) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    names = re.compile(rf"{head}(\d+)\.tiff?")
    paths = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    found = ((names.fullmatch(path.name), path) for path in paths)
    return {int(match[1]): path for match, path in found if match}


def _check_frames(
    pairs: Sequence[Pair], allow_markers: bool, survey: Survey
) -> dict[int, tuple[int, ...]]:
    """Check frames, markers and masks; return frame number -> its tracks."""
    presence: dict[int, tuple[int, ...]] = {}
    bare: list[str] = []
    first: Size | None = None
    for pair in pairs:
        size = survey.image(pair.image)
        first = first or size
        if size is not None and size != first and first is not None:
            survey.fault(
                pair.image,
                f"is {size_text(size)}, the film's first frame {size_text(first)}; "
                "frames of a film have one size",
            )
        markers = survey.ids(pair.mask)
        if markers is None:
            continue
        survey.same_size(pair.mask, (markers.shape[0], markers.shape[1]), pair.image, size)
        number = int(pair.image.stem[1:])
        presence[number] = tuple(object_ids(markers))
        try:
            joined = join_tracks(pair.mask, markers)
        except SampleError as error:
            survey.fault(error.path, error.what)
            continue
        survey.ignored += joined.strangers
        if allow_markers or not joined.unmasked:
            continue
        if truth_files(pair.mask):
            cells = ", ".join(map(str, joined.unmasked))
            survey.fault(
                pair.mask, f"tracks {cells} have a marker and no mask; allow_markers trains on it"
            )
        else:
            bare.append(pair.image.name)
    if bare:
        folder = pairs[0].mask.parent
        survey.fault(
            folder,
            f"{len(bare)} of {len(pairs)} frames have markers and no masks in SEG, the first "
            f"{bare[0]}; allow_markers trains on the markers",
        )
    return presence
