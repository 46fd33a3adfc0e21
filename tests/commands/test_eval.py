"""`maskcast eval` from its command line to its files and exit status."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stream.cli import main
from stream.commands import eval as command
from stream.evaluate import celltracking
from stream.evaluate.figures import MAIN
from stream.offline.film_evaluation import FilmEvaluation
from stream.synth import CellFilm, CellFilmSpec
from tests.offline.fakes_offline import models, write_film


def maskcast(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["eval", *map(str, arguments)])
    return int(end.value.code or 0)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MODELS", models())


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film")


@pytest.mark.usefixtures("fakes")
def test_a_film_gives_a_table_data_a_page_and_masks(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, html = tmp_path / "r.json", tmp_path / "r.html"
    status = maskcast(
        film, "--text", "cell", "--json", data, "--html", html, "--save", tmp_path / "out"
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert "HOTA" in printed
    assert "1.000" in printed
    result = json.loads(data.read_text())
    assert result["schema"] == 1
    assert result["partial"] is False
    assert set(MAIN) < set(result["overall"])
    assert result["overall"]["hota"] == result["groups"][0]["tra"] == 1.0
    assert result["question"] == {"texts": ["cell"], "negatives": [], "prompt": None}
    assert result["data"]["frames"] == len(result["frames"]) == 6
    assert re.fullmatch("[0-9a-f]{64}", result["models"]["tracker"]["sha256"])
    assert re.fullmatch("[0-9a-f]{64}", result["models"]["detector"]["sha256"])
    assert result["config"]["detector"]["every_n_frames"] == 8
    assert result["versions"]["torch"]
    assert (tmp_path / "out" / "film_RES" / "res_track.txt").is_file()
    assert html.read_text().startswith("<!doctype html>")


@pytest.mark.usefixtures("fakes")
def test_the_page_needs_nothing_else(film: Path, tmp_path: Path) -> None:
    html = tmp_path / "r.html"
    assert maskcast(film, "--text", "<b>cell</b>", "--html", html) == 0
    text = html.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert not re.findall(r"url\(|@import|<script|<link", text)
    assert "&lt;b&gt;cell" in text
    assert "<b>cell" not in text
    assert text.count("<svg") == 5
    assert text.count("data:image/webp;base64,") == 1


@pytest.mark.usefixtures("fakes")
def test_stills_have_lines_for_each_kind(film: Path, tmp_path: Path) -> None:
    rows = "".join(f"t{t},{'dark' if t else 'bright'}\n" for t in range(6))
    (film / "index.csv").write_text("id,kind\n" + rows)
    data = tmp_path / "r.json"
    assert maskcast(film, "--stills", "--prompt", "first-box", "--json", data) == 0
    result = json.loads(data.read_text())
    assert [group["name"] for group in result["groups"]] == ["bright", "dark"]
    assert result["overall"]["J"] == 1.0
    assert result["overall"]["tra"] is None
    assert result["overall"]["more"]["iou"]["p50"] == 1.0
    assert result["models"]["detector"] is None


@pytest.mark.usefixtures("fakes")
def test_only_what_is_held_out_is_measured(film: Path, tmp_path: Path) -> None:
    data = tmp_path / "r.json"
    line = [film, "--stills", "--text", "cell", "--only-held-out", "50", "--json", data]
    assert maskcast(*line, "--split-prefix", "dsb2018") == 0
    kept = [frame["name"] for frame in json.loads(data.read_text())["frames"]]
    assert kept == [f"t{t}" for t in range(6) if command_is_set_aside(f"dsb2018/t{t}", 50)]
    assert 0 < len(kept) < 6


def command_is_set_aside(name: str, percent: int) -> bool:
    from train.micro.data import is_held_out

    return is_held_out(name, percent)


@pytest.mark.usefixtures("fakes")
def test_an_interruption_leaves_what_was_measured(
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = FilmEvaluation.run

    def interrupted(self: FilmEvaluation, sequences: Any) -> Iterator[str]:
        for number, name in enumerate(run(self, sequences)):
            if number == 3:
                signal.raise_signal(signal.SIGINT)
            yield name

    monkeypatch.setattr(FilmEvaluation, "run", interrupted)
    data, html = tmp_path / "r.json", tmp_path / "r.html"
    assert maskcast(film, "--text", "cell", "--json", data, "--html", html) == 130
    result = json.loads(data.read_text())
    assert result["partial"] is True
    assert result["overall"]["partial"] is True
    assert len(result["frames"]) == 4
    assert "Interrupted" in html.read_text()
    assert "what was measured so far" in capsys.readouterr().err


@pytest.mark.usefixtures("fakes")
def test_without_the_extra_a_note_names_it(
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(celltracking, "MODULE", "no_such_module")
    data = tmp_path / "r.json"
    assert maskcast(film, "--text", "cell", "--json", data) == 0
    result = json.loads(data.read_text())
    assert result["overall"]["tra"] is result["overall"]["det"] is None
    assert result["overall"]["seg"] == 1.0
    assert "maskcast[eval]" in result["notes"][0]
    assert "maskcast[eval]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ([], "give either --text or --prompt"),
        (["--text", "cell", "--prompt", "first-box"], "give either --text or --prompt"),
        (["--prompt", "last-box"], "accepted are first-mask"),
        (["--stills", "--prompt", "first-mask"], "the mask would be the answer"),
        (["--text", "cell", "--zoom", "2"], "go with --stills"),
        (["--stills", "--text", "cell", "--zoom", "0"], "accepted are auto"),
        (["--text", "cell", "--only-held-out", "10"], "go with --stills"),
        (["--stills", "--text", "cell", "--split-prefix", "x"], "goes with --only-held-out"),
        (["--prompt", "first-box", "--negative", "dirt"], "go with --text"),
        (["--stills", "--text", "cell", "--detect-delay", "3"], "goes with sequences"),
        (["--text", "cell", "--json", "no/such/folder/r.json"], "there is no folder"),
        (["--text", "cell", "--html", "."], "--html needs the name of a file"),
        (["--text", "cell", "--save", "."], "--save needs an empty folder"),
        (["--text", "cell", "--every", "0"], "detector.every_n_frames"),
        (["--text", "cell", "--model", "mikro"], "model 'mikro' is unknown"),
        (["--text", "cell", "--config", "none.yaml"], "cannot read the configuration"),
        (["--text", "cell", "--frames", "0"], "frames"),
        (["--prompt", "first-box", "--frames", "2"], "has 2 frames; --prompt needs 3"),
        (["--text", " "], "texts"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(
    film: Path,
    line: list[str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(film)
    assert maskcast(film, *line) == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1


def test_bad_pictures_are_one_line(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (film / "images" / "t2.png").write_bytes(b"no picture")
    (film / "masks" / "t4.png").unlink()
    assert maskcast(film, "--text", "cell") == 2
    said = capsys.readouterr().err
    assert "t2.png" in said
    assert "t4.png has no mask" in said
    assert said.count("\n") == 1


def test_the_real_models_find_drawn_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`micro` at work on six frames of a drawn film, as `maskcast run` has it."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    drawn = CellFilm(CellFilmSpec(seed=3, width=200, height=160, objects=3))
    for t in range(6):
        frame = drawn.frame()
        Image.fromarray(np.asarray(frame.image, np.uint8)).save(tmp_path / f"images/{t}.png")
        Image.fromarray(frame.ids.astype(np.uint16)).save(tmp_path / f"masks/{t}.png")
    data = tmp_path / "r.json"
    line = [tmp_path, "--text", "cell", "--every", "2", "--json", data]
    monkeypatch.setattr(sys, "argv", ["maskcast", "eval", *map(str, line)])
    assert maskcast(*line) == 0
    result = json.loads(data.read_text())
    assert result["overall"]["f1_50"] > 0.5
    assert result["overall"]["hota"] > 0.3
    assert result["command"][:2] == ["maskcast", "eval"]
    assert result["overall"]["fps"] > 0
