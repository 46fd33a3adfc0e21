"""Whole evaluations with models that see what is bright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from stream.config import check
from stream.contracts import DetectionJob, Question
from stream.errors import UsageError
from stream.evaluate import find_sequences
from stream.offline.clients import InlineDetector, NoDetector
from stream.offline.evaluation import Options, Results
from stream.offline.film_evaluation import FilmEvaluation
from stream.offline.prompts import Prompter
from stream.offline.saving import prepare
from stream.offline.still_evaluation import StillEvaluation
from tests.offline.fakes_offline import BrightDetector, BrightSight, models, write_film

CONFIG = check({"texts": ["cell"], "tracker": {"threads": 1}})


def follow(folder: Path, stop_after: int | None = None, **options: Any) -> Results:
    evaluation = FilmEvaluation(Options(CONFIG, **options), models())
    evaluation.prepare()
    for step, _ in enumerate(evaluation.run(find_sequences(folder)), 1):
        if step == stop_after:
            break
    return evaluation.results()


def test_a_text_counts_in_every_frame(tmp_path: Path) -> None:
    results = follow(write_film(tmp_path / "film"))
    figures = results.overall.figures
    assert figures["J"] == figures["F"] == figures["hota"] == figures["idf1"] == 1.0
    assert figures["tra"] == figures["seg"] == 1.0
    assert results.overall.more["frames"] == 6
    assert [point.found for point in results.points] == [2] * 5 + [1]
    assert results.curve is not None
    assert not results.overall.partial
    assert figures["fps"] is not None


@pytest.mark.parametrize("prompt", ["first-mask", "first-box", "first-click"])
def test_given_objects_leave_out_the_first_frame_and_in_j_the_last(
    tmp_path: Path, prompt: str
) -> None:
    """Object 8 is gone in the last frame, which counts for the ids."""
    results = follow(write_film(tmp_path / "film"), prompter=Prompter.parse(prompt))
    assert results.overall.figures["J"] == 1.0
    assert [point.index for point in results.points] == [1, 2, 3, 4, 5]
    assert results.overall.more["objects"] == 9
    assert results.overall.more["objects_in_j"] == 2
    assert results.curve is None


def test_an_object_that_no_box_names_counts_everywhere_but_in_j(tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text("image,x0,y0,x1,y1\nfilm/t0,2,4,12,14\n")
    results = follow(write_film(tmp_path / "film"), prompter=Prompter.parse(f"boxes:{file}"))
    assert results.overall.figures["J"] == 1.0
    assert results.overall.more["objects_in_j"] == 1
    assert results.overall.more["recall"] == pytest.approx(5 / 9)


def test_a_prompt_that_gives_nothing_counts_as_lost(tmp_path: Path) -> None:
    """The box of object 8 is elsewhere, where nothing is bright."""
    file = tmp_path / "boxes.csv"
    file.write_text("image,x0,y0,x1,y1,id\nt0,2,4,12,14,3\nt0,0,44,4,48,8\n")
    results = follow(write_film(tmp_path / "film"), prompter=Prompter.parse(f"boxes:{file}"))
    assert results.overall.figures["J"] == 0.5
    assert any("1 prompts were refused" in note for note in results.notes)


@pytest.mark.parametrize(
    ("box", "why"),
    [("t9,0,0,4,4", "no box in the file"), ("t0,0,0,99,4", "the picture is 64 x 48")],
)
def test_boxes_that_do_not_fit_the_film_are_one_line(tmp_path: Path, box: str, why: str) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text(f"image,x0,y0,x1,y1\n{box}\n")
    with pytest.raises(UsageError, match=f"film/t0: .*{why}"):
        follow(write_film(tmp_path / "film"), prompter=Prompter.parse(f"boxes:{file}"))


def test_an_answer_comes_as_late_as_is_asked_for() -> None:
    client = InlineDetector(BrightDetector(), delay=2)
    job = DetectionJob(7, 0, np.zeros((4, 4, 3), np.uint8), {}, Question(("cell",)))
    assert client.submit(job)
    assert not client.submit(job)
    answers = [client.poll(0.0) for _ in range(3)]
    assert answers[:2] == [None, None]
    assert answers[2] is not None
    assert answers[2].frame_index == 7
    assert client.poll(0.0) is None
    assert client.submit(job)
    assert client.poll(60.0) is not None, "who waits gets the answer at once"


def test_nobody_answers_where_nobody_is_asked() -> None:
    assert not NoDetector().submit(None)  # type: ignore[arg-type]
    assert NoDetector().poll(1.0) is None


def test_late_detections_find_less(tmp_path: Path) -> None:
    """The tracker hears of the first frame two frames later."""
    results = follow(write_film(tmp_path / "film"), detect_delay=2)
    assert [point.found for point in results.points] == [0, 0, 2, 2, 2, 1]
    assert results.overall.more["recall"] == pytest.approx(7 / 11)


def test_what_was_measured_is_there_at_any_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_film(tmp_path / "set" / name)
    results = follow(tmp_path / "set", stop_after=8)
    assert [(g.name, g.partial, g.more["frames"]) for g in results.groups] == [
        ("a", False, 6),
        ("b", True, 2),
    ]
    assert results.overall.partial
    assert results.overall.more["frames"] == 8


def test_a_film_that_was_seen_to_its_end_is_complete(tmp_path: Path) -> None:
    results = follow(write_film(tmp_path / "film"), stop_after=6)
    assert not results.overall.partial
    assert results.overall.more["frames"] == 6


def test_films_are_saved_as_the_cell_tracking_challenge_has_them(tmp_path: Path) -> None:
    follow(write_film(tmp_path / "film"), save=tmp_path / "out")
    saved = sorted((tmp_path / "out" / "film_RES").iterdir())
    assert [path.name for path in saved] == [f"mask{t:03d}.tif" for t in range(6)] + [
        "res_track.txt"
    ]
    assert saved[-1].read_text() == "1 0 5 0\n2 0 4 0\n"
    labels = tifffile.imread(saved[2])
    assert labels.dtype == np.uint16
    assert (labels[4:14, 4:14] == 1).all()


# -- stills ------------------------------------------------------------------------------------


def stills(folder: Path, kinds: dict[str, str] | None = None, **options: Any) -> Results:
    evaluation = StillEvaluation(Options(CONFIG, **options), models(BrightSight()), kinds)
    evaluation.prepare()
    for _ in evaluation.run(find_sequences(folder, stills=True)):
        pass
    return evaluation.results()


def test_stills_have_figures_for_each_kind(tmp_path: Path) -> None:
    kinds = {f"t{t}": "dark" if t < 4 else "bright" for t in range(6)}
    results = stills(write_film(tmp_path / "film"), kinds, zoom=1)
    assert [(g.name, g.more["images"]) for g in results.groups] == [("bright", 2), ("dark", 4)]
    assert results.overall.figures["J"] == results.overall.figures["det"] == 1.0
    assert results.overall.figures["hota"] is results.overall.figures["tra"] is None


@pytest.mark.parametrize("prompt", ["first-box", "first-click"])
def test_stills_are_prompted_one_by_one(tmp_path: Path, prompt: str) -> None:
    results = stills(write_film(tmp_path / "film"), prompter=Prompter.parse(prompt), save=tmp_path)
    assert results.overall.figures["J"] == 1.0
    assert results.overall.more["objects"] == 11
    with Image.open(tmp_path / "t0.png") as picture:
        assert np.asarray(picture).dtype == np.uint16
        assert np.unique(np.asarray(picture)).tolist() == [0, 3, 8]


def test_the_worst_images_are_kept_with_their_pictures(tmp_path: Path) -> None:
    folder = write_film(tmp_path / "film", frames=9)
    ids = np.zeros((48, 64), np.uint16)
    Image.fromarray(ids).save(folder / "masks" / "t4.png")
    results = stills(folder, zoom=1)
    assert len(results.shots) == 6
    assert (results.shots[0].title, results.shots[0].quality) == ("t4", 0.0)
    assert results.shots[0].found == 2


def test_a_folder_that_holds_something_is_not_written_into(tmp_path: Path) -> None:
    prepare(tmp_path / "new" / "deeper")
    with pytest.raises(UsageError, match="--save needs an empty folder"):
        prepare(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot save there"):
        prepare(tmp_path / "file")
