"""Plots, pictures and what is kept of the worst frames."""

from __future__ import annotations

import re
import xml.etree.ElementTree as Xml
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream.frame import TrackedObject, crop_mask
from stream.offline.pictures import RESULT_RGB, TRUTH_RGB, draw
from stream.offline.plots import Axis, Line, histogram, line_plot, scatter
from stream.offline.saving import FilmSaver
from stream.offline.shots import MOST_SHOTS, Shot, WorstShots

SHARE = Axis("share", 0.0, 1.0)


def item(object_id: int, left: int) -> TrackedObject:
    mask = np.zeros((20, 30), bool)
    mask[5:15, left : left + 6] = True
    inside, box = crop_mask(mask)
    return TrackedObject(object_id, "cell", 0.9, "confirmed", inside, box, int(mask.sum()))


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 47, [0, 10, 20, 30, 40]), (0.5, 0.95, [0.5, 0.6])],
)
def test_ticks_are_round_numbers(least: float, most: float, ticks: list[float]) -> None:
    found = [round(tick, 9) for tick in Axis("x", least, most).ticks]
    assert found[: len(ticks)] == ticks
    assert len(found) <= 6


def test_what_is_counted_has_no_ticks_between() -> None:
    assert Axis("objects", 0.0, 2.2, whole=True).ticks == [0, 1, 2]


def test_a_line_goes_where_its_numbers_say() -> None:
    """Up on the page is up in number, and the axis ends where the numbers do."""
    svg = line_plot("t", SHARE, SHARE, [Line("a", [0.0, 1.0], [0.0, 1.0])])
    (points,) = re.findall(r'points="([^"]+)"', svg)
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in points.split())
    assert (x0, y0, x1, y1) == (46.0, 210.0, 426.0, 14.0)


def test_a_long_line_is_thinned_and_keeps_its_ends() -> None:
    values = np.linspace(0.0, 1.0, 5000).tolist()
    svg = line_plot("t", SHARE, SHARE, [Line("a", values, values)])
    (points,) = re.findall(r'points="([^"]+)"', svg)
    assert len(points.split()) == 400
    assert points.split()[-1] == "426.0,14.0"


def test_every_value_is_in_one_bar() -> None:
    svg = histogram("t", SHARE, "n", [0.0, 0.01, 0.5, 0.999, 1.0])
    counts = [int(text) for text in re.findall(r"<title>(\d+)</title>", svg)]
    assert (counts[0], counts[10], counts[19], sum(counts)) == (2, 1, 2, 5)


def test_plots_are_well_formed_whatever_they_are_called() -> None:
    evil = '<a href="x">&'
    line = Line(evil, [0.5], [0.5], "truth")
    for svg in (
        line_plot(evil, Axis(evil, 0, 1), SHARE, [line, line]),
        histogram(evil, SHARE, evil, []),
        scatter(evil, SHARE, SHARE, [(0.1, 0.2, evil)]),
    ):
        Xml.fromstring(svg)


def test_outlines_have_the_colours_of_truth_and_result() -> None:
    truth, result = np.zeros((20, 30), np.uint16), np.zeros((20, 30), np.int32)
    truth[5:15, 3:12], result[5:15, 18:27] = 7, 4
    out = draw(Shot(0.1, "t", 1, 1, np.full((20, 30, 3), 128, np.uint8), truth, result))
    assert out.shape == (80, 120, 3)
    assert tuple(out[40, 12]) == TRUTH_RGB
    assert tuple(out[40, 72]) == RESULT_RGB
    assert tuple(out[40, 30]) == tuple(out[40, 90]) == (128, 128, 128)


def test_the_worst_frames_stay_in_order_and_apart() -> None:
    worst = WorstShots(apart=True)
    image, truth = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint16)
    for index in range(200):
        worst.offer("film", index, 1.0 - index / 200, f"{index}", image, truth, [item(1, 3)])
    titles = [shot.title for shot in worst.shots()]
    assert titles == [f"{index}" for index in range(199, 199 - 10 * MOST_SHOTS, -10)]


def test_a_saved_track_with_a_hole_goes_on_under_a_new_label(tmp_path: Path) -> None:
    saver = FilmSaver(tmp_path, "film", 4)
    for objects in ([item(70_000, 3)], [], [item(70_000, 3), item(2, 15)], [item(2, 15)]):
        saver.add(objects, (20, 30))
    saver.close()
    text = (tmp_path / "film_RES" / "res_track.txt").read_text()
    assert text == "1 0 0 0\n2 2 3 0\n3 2 2 1\n"


def test_saved_daughters_name_the_label_of_their_mother(tmp_path: Path) -> None:
    saver = FilmSaver(tmp_path, "film", 4)
    daughters = [replace(item(i, left), parent=70) for i, left in ((8, 3), (9, 15))]
    for objects in ([item(5, 20)], [item(70, 3)], daughters, daughters[:1]):
        saver.add(objects, (20, 30))
    saver.close()
    text = (tmp_path / "film_RES" / "res_track.txt").read_text()
    assert text == "1 0 0 0\n2 1 1 0\n3 2 3 2\n4 2 2 2\n"


def test_a_daughter_whose_mother_was_never_saved_has_no_parent(tmp_path: Path) -> None:
    saver = FilmSaver(tmp_path, "film", 1)
    saver.add([replace(item(8, 3), parent=70)], (20, 30))
    saver.close()
    assert (tmp_path / "film_RES" / "res_track.txt").read_text() == "1 0 0 0\n"
