"""Weights that are found again, judged on other pictures, and one small run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from fit_clicks import Click, apart, chosen, fit, main, options

from engines.clicks import TERMS
from stream.errors import UsageError
from train.micro.data import is_held_out


def clicks(count: int = 200) -> list[Click]:
    """Drawings of which the first and the third term tell how good they are, the rest nothing."""
    rng = np.random.default_rng(0)
    terms = rng.normal(0, (1.0, 1.0, 0.2, 1.0, 1.0), (count, 7, len(TERMS)))
    worth = terms @ np.array([1.0, 0.0, 5.0, 0.0, 0.0])
    good = 1 / (1 + np.exp(-worth - rng.normal(0, 0.3, worth.shape)))
    return [Click(t, g, n // 10) for n, (t, g) in enumerate(zip(terms, good, strict=True))]


def test_what_tells_is_found() -> None:
    some = clicks()
    weights = fit(some)
    assert weights[2] / weights[0] == pytest.approx(5.0, rel=0.15)
    assert np.abs(weights[[1, 3, 4]]).max() < 0.15 * weights[0]
    best = float(np.mean([click.iou.max() for click in some]))
    assert best - 0.03 < apart(some) <= chosen(some, weights) + 0.01 < best + 0.01
    assert chosen(some, np.eye(len(TERMS))[1]) < best - 0.2


def test_the_choice_is_the_drawing_that_most_speaks_for() -> None:
    terms = np.zeros((3, len(TERMS)))
    terms[1, 0] = 1.0
    one = Click(terms, np.array([0.2, 0.7, 0.4]), 0)
    assert chosen([one], [1.0, 0, 0, 0, 0]) == pytest.approx(0.7)


def test_every_object_counts_as_much_clicked_or_not() -> None:
    """Of two pictures the one that has more objects than were clicked decides."""
    terms = np.zeros((2, len(TERMS)))
    terms[0, 0] = terms[1, 1] = 1.0
    few = Click(terms, np.array([0.9, 0.3]), 0)
    many = Click(terms, np.array([0.5, 0.8]), 1, stands_for=9.0)
    assert chosen([few, many], [1.0, 0, 0, 0, 0]) == pytest.approx(0.54)
    assert chosen([few, many], fit([few, many])) == pytest.approx(0.75)
    assert chosen([few, few, few, many], fit([few] * 3 + [replace(many, stands_for=1.0)])) < 0.75


def pictures(folder: Path, count: int) -> None:
    """Bright discs on dark, named so that they may be trained on."""
    names = [name for n in range(40) if not is_held_out(f"dsb2018/{(name := f'p{n}')}")][:count]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows, columns = np.mgrid[:120, :120]
    for name in names:
        ids = np.zeros((120, 120), np.uint16)
        for number, (x, y) in enumerate(((30, 30), (80, 40), (50, 90)), 1):
            ids[(columns - x) ** 2 + (rows - y) ** 2 < (8 + 2 * number) ** 2] = number
        Image.fromarray(np.where(ids > 0, 160, 20).astype(np.uint8)).save(
            folder / "images" / f"{name}.png"
        )
        Image.fromarray(ids).save(folder / "masks" / f"{name}.png")
    lines = ["id,kind", *(f"{name},gray_dark" for name in names)]
    (folder / "index.csv").write_text("\n".join(lines))


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path / "data", 4)
    out = tmp_path / "figures.json"
    main(options(["--data", str(tmp_path / "data"), "--objects", "2", "--json", str(out)]))
    figures = json.loads(out.read_text())
    assert (figures["pictures"], figures["clicks"]) == (4, 8)
    assert list(figures["fitted"]) == list(TERMS)
    assert figures["model"] == "micro"
    assert (
        0.5 < figures["iou"]["chosen by these"] <= figures["iou"]["the best drawing, were it known"]
    )
    assert "what speaks for a drawing" in capsys.readouterr().out


def test_a_folder_of_another_kind_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"index\.csv: missing"):
        main(options(["--data", str(tmp_path)]))


def test_too_few_pictures_to_judge_by_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, 1)
    with pytest.raises(UsageError, match="1 picture may be trained on; 4 or more are needed"):
        main(options(["--data", str(tmp_path)]))
