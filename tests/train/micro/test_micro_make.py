"""The command that makes the micro models: its parts, going on, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.refiner import load_refiner
from stream.cli import main
from stream.errors import UsageError
from tests.train.micro.microscenes import discs
from train.micro.make import Run, claim, make
from train.micro.recipe import Films, MicroRecipe, RefinerPart, Segmenter

SMALL = MicroRecipe(
    look_every=1,
    films=Films(train=1, frames=2, held_out=1, held_out_frames=2),
    segmenter=Segmenter(
        steps=2, stills=1, prompts=3, clips=1, frames=(2, 2), track_from=1, film_share=0.5
    ),
    refiner=RefinerPart(steps=2, pictures=2, objects=2),
)


def data(folder: Path, images: int = 6) -> Path:
    """A folder like dsb2018_nuclei, of discs."""
    place = folder / "dsb2018_nuclei"
    (place / "images").mkdir(parents=True)
    (place / "masks").mkdir()
    with (place / "index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "kind"])
        for number in range(images):
            still = discs(seed=number)
            Image.fromarray(still.image).save(place / "images" / f"a{number}.png")
            Image.fromarray(still.ids.astype(np.uint16)).save(place / "masks" / f"a{number}.png")
            table.writerow([f"a{number}", "gray_dark"])
    return folder


def test_films_segmenter_and_refiner(tmp_path: Path) -> None:
    parts = ("films", "segmenter", "refiner")
    run = Run(data(tmp_path / "data"), tmp_path / "out", SMALL, parts, threads=1)
    said: list[str] = []
    assert make(run, said.append)
    assert said == [f"draws 2 films into {tmp_path / 'out' / 'films'}"]
    folder = tmp_path / "out" / "segmenter"
    assert (folder / "weights.safetensors").stat().st_size < 10_000_000
    assert [p.name for p in (folder / "samples").iterdir()]
    load_refiner(tmp_path / "out" / "refiner" / "weights.safetensors")
    before = (folder / "weights.safetensors").stat().st_mtime_ns
    assert make(run, said.append)
    assert (folder / "weights.safetensors").stat().st_mtime_ns == before


def test_calibration_waits_for_all_models(tmp_path: Path) -> None:
    run = Run(tmp_path, tmp_path / "out", SMALL, ("calibration",))
    said: list[str] = []
    assert not make(run, said.append)
    assert said == [
        "calibration waits for segmenter, refiner and clip",
        "calibration is not done yet; the same command goes on with it",
    ]


def test_what_waits_is_no_success(tmp_path: Path) -> None:
    line = ["train", "micro", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    for minutes, status in (([], 1), (["--minutes", "1"], 0)):
        with pytest.raises(SystemExit) as ended:
            main([*line, "--only", "calibration", *minutes])
        assert (ended.value.code or 0) == status


def test_a_folder_belongs_to_one_recipe(tmp_path: Path) -> None:
    claim(Run(tmp_path, tmp_path / "out", SMALL))
    claim(Run(tmp_path, tmp_path / "out", SMALL))
    other = SMALL.model_copy(update={"seed": 3, "films": Films(train=2, frames=2)})
    with pytest.raises(
        UsageError, match=r"films.held_out, films.held_out_frames, films.train, seed"
    ):
        claim(Run(tmp_path, tmp_path / "out", other))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "no --data is given; it takes the folder that holds dsb2018_nuclei"),
        (["--data", "nowhere"], "--data nowhere is no folder"),
        (["--data", "."], "no --out is given"),
        (["--data", ".", "--out", "x", "--only", "clips"], "--only clips: accepted are films,"),
        (["--data", ".", "--out", "x", "--minutes", "0"], "--minutes 0.0: a number above 0"),
        (["none.yaml", "--data", ".", "--out", "x"], "none.yaml: no such file"),
        (["--data", ".", "--out", "/proc/x"], "--out /proc/x: cannot be made: No such file"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str],
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["train", "micro", *arguments])
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert error in text
    assert len(text.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_data_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["train", "micro", "--data", str(tmp_path), "--out", str(out), "--only", "clip"])
    assert ended.value.code == 2
    assert "index.csv: missing; expected columns id and kind" in capsys.readouterr().err
