"""The command: bad input is one line and status 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stream import cli

Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def train_clip(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Run the command in this process; returns its status and the lines on stderr."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*arguments: object) -> tuple[int, list[str]]:
        with pytest.raises(SystemExit) as end:
            cli.main(["train", "clip", *map(str, arguments)])
        return int(str(end.value.code)), capsys.readouterr().err.splitlines()

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three small pictures with captions; none of their names is held out."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    lines = []
    for number in range(3):
        Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)).save(
            folder / "images" / f"{number}.png"
        )
        lines.append(f"{number}.png: a grey picture, number {number}")
    (folder / "captions.txt").write_text("\n".join(lines), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["no data set is given", "maskcast train clip FOLDER"]),
        (["DATA"], ["--out is missing"]),
        (["nowhere", "--out", "OUT"], ["nowhere", "is not there"]),
        (["DATA", "--out", "OUT", "--train", "last:0"], ["train: 'last:0'", "last:K"]),
        (["DATA", "--out", "OUT", "--wise", "2"], ["wise: '2'", "auto and a number from 0 to 1"]),
        (["DATA", "--out", "OUT", "--batch", "1"], ["batch: 1", "greater than or equal to 2"]),
        (["DATA", "--out", "OUT", "--batch", "4", "--accumulate", "8"], ["accumulate 8"]),
        (["DATA", "--out", "OUT", "--config", "none.yaml"], ["none.yaml: no such file"]),
        (["DATA", "--out", "OUT", "--resume"], ["no last.pt to go on from"]),
        (["DATA", "--out", "OUT", "--json", "no/f.json"], ["no/f.json: cannot be written"]),
        (["DATA", "--out", "OUT", "--held-out", "1"], ["none of its 3 images is held out"]),
        (["DATA", "--out", "OUT", "--device", "tpu", "--held-out", "40"], ["device 'tpu'"]),
        (["DATA", "--out", "OUT", "--model", "ViT-X", "--held-out", "40"], ["ViT-X"]),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line_and_status_2(
    train_clip: Run, data: Path, tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    names = {"DATA": data, "OUT": tmp_path / "out"}
    status, lines = train_clip(*(names.get(word, word) for word in arguments))
    said = [line for line in lines if line.startswith("maskcast: ")]
    assert status == 2, lines
    assert len(said) == 1
    assert "Traceback" not in "".join(lines)
    assert "--skip-faulty" not in said[0]
    for part in parts:
        assert part in said[0]


def test_a_faulty_set_is_refused_with_all_its_faults(
    train_clip: Run, data: Path, tmp_path: Path
) -> None:
    with (data / "captions.txt").open("a") as file:
        file.write("\nnone.png: nothing\n")
    (data / "images" / "9.png").write_bytes(b"no picture")
    status, lines = train_clip(data, "--out", tmp_path / "out")
    assert status == 2
    assert "none.png" in lines[-1]
    assert "9.png" in lines[-1]
    assert "--skip-faulty" in lines[-1]


def test_a_wrong_key_of_a_file_is_named(train_clip: Run, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("bach: 3\n")
    status, lines = train_clip(data, "--out", tmp_path / "out", "--config", file)
    assert status == 2
    assert "bach: there is no such key; did you mean batch?" in lines[-1]
