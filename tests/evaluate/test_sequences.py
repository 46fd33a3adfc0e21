"""Reading annotated sequences, and the list of all that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stream.evaluate import SequenceError, find_sequences
from stream.evaluate.sequences import names_of

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
Writer = Callable[..., Path]


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def problems_of(root: Path, **options: bool) -> list[str]:
    with pytest.raises(SequenceError) as caught:
        find_sequences(root, **options)
    return caught.value.problems


def test_one_sequence_gives_pictures_and_ids(tmp_path: Path, write_sequence: Writer) -> None:
    (film,) = find_sequences(write_sequence(tmp_path / "film"))
    frames = list(film.frames())
    assert (film.name, len(film), len(frames)) == ("film", 3, 3)
    assert frames[1].image.shape == (24, 32, 3)
    assert frames[1].ids.dtype == np.uint16
    for frame in frames:
        assert set(np.unique(frame.ids).tolist()) == {0, 7, 300}
        assert np.array_equal(frame.image[..., 0] > 60, frame.ids > 0)
        assert np.flatnonzero((frame.ids == 7).any(0))[0] == frame.index


def test_a_set_holds_its_folders_in_natural_order(tmp_path: Path, write_sequence: Writer) -> None:
    for name in ("s10", "s2"):
        write_sequence(tmp_path / name)
    write_sequence(tmp_path / "s1", inner="dog")
    assert [film.name for film in find_sequences(tmp_path)] == ["s1/dog", "s2", "s10"]


def test_names_under_images_and_masks_are_sequences(tmp_path: Path, write_sequence: Writer) -> None:
    write_sequence(tmp_path, inner="dog")
    (film,) = find_sequences(tmp_path)
    assert film.name == f"{tmp_path.name}/dog"
    assert [frame.index for frame in film.frames()] == [0, 1, 2]


def test_frames_come_in_natural_order(tmp_path: Path, write_sequence: Writer) -> None:
    (film,) = find_sequences(write_sequence(tmp_path / "film", frames=11))
    assert [path.stem for path in film.images] == [f"t{i}" for i in range(11)]
    assert [path.stem for path in film.masks] == [f"t{i}" for i in range(11)]


def test_only_the_wanted_frames_are_read_and_checked(
    tmp_path: Path, write_sequence: Writer
) -> None:
    folder = write_sequence(tmp_path / "film")
    (folder / "masks" / "t2.png").write_bytes(b"damaged")
    (film,) = find_sequences(folder, frames=2)
    assert len(list(film.frames())) == 2
    assert len(problems_of(folder)) == 1


def test_16_bit_becomes_visible(tmp_path: Path, write_sequence: Writer) -> None:
    (film,) = find_sequences(write_sequence(tmp_path / "film", bits=16))
    for frame in film.frames():
        assert frame.image.dtype == np.uint8
        shades = [int(np.median(frame.image[frame.ids == i])) for i in (0, 7)]
        assert shades == [0, 255]


def test_stills_find_their_levels_alone(tmp_path: Path, write_sequence: Writer) -> None:
    """A picture ten times brighter is too bright in a film, and well lit as a still."""
    folder = write_sequence(tmp_path / "film", bits=16)
    bright = np.asarray(Image.open(folder / "images" / "t2.png"))
    save(folder / "images" / "t2.png", bright * 10)
    background = {}
    for stills in (False, True):
        (film,) = find_sequences(folder, stills=stills)
        last = list(film.frames())[-1]
        background[stills] = int(np.median(last.image[last.ids == 0]))
    assert background[False] > 20
    assert background[True] == 0


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16"])
def test_masks_of_all_whole_numbers_are_read(
    mode: str, tmp_path: Path, write_sequence: Writer
) -> None:
    folder = write_sequence(tmp_path / "film", frames=1)
    ids = np.zeros((24, 32), np.uint8)
    ids[3:6, 3:6] = 255 if mode == "1" else 4
    picture = Image.fromarray(ids)
    if mode == "P":
        picture.putpalette([250, 10, 10] * 256)  # shades say nothing, indices are the ids
    else:
        picture = picture.convert(mode)
    picture.save(folder / "masks" / "t0.png")
    (film,) = find_sequences(folder)
    expected = (ids > 0) * (1 if mode == "1" else 4)
    assert np.array_equal(next(film.frames()).ids, expected)


def test_masks_may_be_tiff(tmp_path: Path, write_sequence: Writer) -> None:
    folder = write_sequence(tmp_path / "film", frames=1)
    (mask,) = (folder / "masks").iterdir()
    ids = np.zeros((24, 32), np.uint16)
    ids[3:6, 3:6] = 300
    Image.fromarray(ids).save(mask.with_suffix(".tif"))
    mask.unlink()
    (film,) = find_sequences(folder)
    assert np.array_equal(next(film.frames()).ids, ids)
    assert names_of([film]) == {"t0", "film/t0"}


@pytest.mark.parametrize(("value", "kind"), [(65_535, np.uint16), (70_000, np.int32)])
def test_ids_that_are_none_are_refused(
    value: int, kind: type, tmp_path: Path, write_sequence: Writer
) -> None:
    folder = write_sequence(tmp_path / "film", frames=1)
    ids = np.zeros((24, 32), kind)
    ids[3, 3] = value
    (mask,) = (folder / "masks").iterdir()
    Image.fromarray(ids).save(mask.with_suffix(".tif"))
    mask.unlink()
    (problem,) = problems_of(folder)
    assert f"ids reach from 0 to {value}; accepted are 0 to 65534" in problem


def test_every_problem_is_listed_at_once(tmp_path: Path, write_sequence: Writer) -> None:
    folder = write_sequence(tmp_path / "film", frames=7)
    images, masks = folder / "images", folder / "masks"
    (masks / "t0.png").unlink()
    save(masks / "extra.png", np.zeros((24, 32), np.uint16))
    save(masks / "t1.png", np.zeros((24, 30), np.uint16))
    save(masks / "t2.png", np.zeros((24, 32, 3), np.uint8))
    Image.new("LA", (32, 24)).save(masks / "t3.png")
    (masks / "t4.png").write_bytes(b"damaged")
    (images / "t5.png").write_bytes(b"damaged")
    save(images / "t6.jpg", np.zeros((24, 32, 3), np.uint8))
    found = problems_of(folder)
    expected = [
        "t0.png has no mask t0.png",
        "mask extra.png has no picture",
        "t1.png is 32x24, its mask 30x24",
        "mask t2.png: pixels are RGB, not ids",
        "mask t3.png: pixels are LA, not ids",
        "mask t4.png",
        "picture t5.png is not a picture",
        "t6.png and t6.jpg are the same frame",
    ]
    for text in expected:
        assert any(text in problem for problem in found), text
    assert len(found) == len(expected)
    assert all(problem.startswith("film: ") for problem in found)


def test_the_message_is_one_line_and_counts_what_it_does_not_show(
    tmp_path: Path, write_sequence: Writer
) -> None:
    folder = write_sequence(tmp_path / "film", frames=25)
    for path in (folder / "masks").iterdir():
        path.unlink()
    with pytest.raises(SequenceError) as caught:
        find_sequences(folder)
    message = str(caught.value)
    assert len(caught.value.problems) == 25
    assert message.endswith("; and 5 more")
    assert "\n" not in message
    assert caught.value.exit_status == 2


def test_a_change_of_size_is_a_problem_of_films_only(
    tmp_path: Path, write_sequence: Writer
) -> None:
    folder = write_sequence(tmp_path / "film")
    save(folder / "images" / "t1.png", np.zeros((10, 12), np.uint8))
    save(folder / "masks" / "t1.png", np.zeros((10, 12), np.uint16))
    assert problems_of(folder) == ["film: t1.png is 12x10, the first 32x24"]
    (film,) = find_sequences(folder, stills=True)
    assert [frame.ids.shape for frame in film.frames()] == [(24, 32), (10, 12), (24, 32)]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ([], "is no folder"),
        (["film"], "holds no images/ and masks/"),
        (["film/images"], "has no folder masks"),
        (["film/images", "film/masks"], "holds no pictures"),
        (["film/images/dog", "film/masks"], "film/dog: has no folder masks/dog"),
        (["film/one/images", "film/one/masks", "film/two"], "two: has no folder images"),
    ],
)
def test_folders_that_are_no_sequence(make: list[str], said: str, tmp_path: Path) -> None:
    for name in make:
        (tmp_path / name).mkdir(parents=True)
    assert any(said in problem for problem in problems_of(tmp_path / "film"))


@pytest.mark.shared_data
def test_real_sequences_are_read() -> None:
    if not SHARED.is_dir():
        pytest.skip("the real data sets are not beside the checkout")
    assert len(find_sequences(SHARED / "davis_dev", frames=2)) == 5
    (cells,) = find_sequences(SHARED / "ctc_fluo_n2dh_sim_01", frames=2)
    frame = next(cells.frames())
    lit, dark = frame.image[frame.ids > 0].mean(), frame.image[frame.ids == 0].mean()
    assert len(np.unique(frame.ids)) == 31
    assert lit > 3 * dark
