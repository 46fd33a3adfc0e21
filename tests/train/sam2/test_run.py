"""The whole fine-tuning and its command, on a set made here; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from engines.registry import load_sam2
from engines.trained import CARD_FILE, WEIGHTS_FILE, read_trained
from stream.cli import main
from stream.errors import UsageError
from tests.train.sam2.scenes import SIDE, small_recipe, write_set
from train.progress import read_log
from train.readers import held_out
from train.sam2.material import short_names
from train.sam2.recipe import Recipe
from train.sam2.result import blend
from train.sam2.run import fine_tune

PERCENT = 30


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures, of which two are held out."""
    root = write_set(tmp_path_factory.mktemp("sets") / "discs", 6)
    kept = [held_out(f"circle{i}", PERCENT) for i in range(6)]
    assert 1 <= sum(kept) < 6
    return root


def recipe(data: Path, **changes: object) -> Recipe:
    values: dict[str, object] = {
        "data": data, "held_out": PERCENT, "steps": 2, "animate": 0.0, "eval_objects": 1,
        "eval_images": 1, "eval_films": 1, "eval_frames": 2, "eval_every": 9, "threads": 1,
    }  # fmt: skip
    return small_recipe(**(values | changes))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["train", "sam2", *arguments])
    return int(end.value.code or 0)


def test_stopped_and_resumed_is_the_same_as_in_one_go(data: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    def after_one() -> bool:
        asked.append(1)
        return True

    whole = fine_tune(recipe(data), tmp_path / "whole", show=False)
    part = fine_tune(recipe(data), tmp_path / "part", stop=after_one, show=False)
    assert not part.finished
    assert part.steps == len(asked) == 1
    assert not (tmp_path / "part" / CARD_FILE).exists()
    with pytest.raises(UsageError, match=f"was trained with held_out {PERCENT}, not 10"):
        fine_tune(recipe(data, held_out=10), tmp_path / "part", resume=True, show=False)
    rest = fine_tune(recipe(data, wise=1.0), tmp_path / "part", resume=True, show=False)
    assert rest.finished
    assert rest.steps == 2
    assert rest.before == whole.before
    assert rest.after == whole.after
    one, other = (load_file(tmp_path / n / WEIGHTS_FILE) for n in ("whole", "part"))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    _check_result(tmp_path / "whole", whole.after["held out"])


def _check_result(folder: Path, after: dict[str, float]) -> None:
    """The folder says what it is, and loads with the size it was trained at."""
    card = read_trained(folder)
    assert card is not None
    assert (card.kind, card.name, card.image_size) == ("sam2", "micro", SIDE)
    assert card.data["name"] == "discs"
    assert card.after == {"held out": after}
    assert len(card.base_sha256) == len(card.sha256) == 64
    assert {"click", "click+1", "click+3", "box", "J mask", "J box"} <= after.keys()
    assert all(0.0 <= v <= 1.0 for n, v in after.items() if n not in ("objects", "films"))
    assert "| held out | IoU, box |" in (folder / "README.md").read_text()
    assert str(folder.parent) not in (folder / CARD_FILE).read_text()
    assert [row for row in read_log(folder / "log.jsonl") if "held_out" in row]
    for picture in ("loss.png", "samples/before.png", "samples/after.png"):
        with Image.open(folder / picture) as opened:
            assert opened.width > 100
    assert load_sam2("micro", str(folder)).model.image_size == SIDE


def test_the_command_trains_and_says_how_it_went(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    config = tmp_path / "recipe.yaml"
    values = recipe(data, wise=0.0).model_dump(mode="json")
    config.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    out = str(tmp_path / "out")
    arguments = ("--config", str(config), "--out", out, "--json", str(figures), "--steps", "1")
    assert run(*arguments, "--set", "eval_every=7") == 0
    said = capsys.readouterr()
    assert "IoU, box" in said.out
    assert "the model is in" in said.err
    found = json.loads(figures.read_text())
    assert found["steps"] == 1
    # None of the trained weights: nothing is gained and nothing lost.
    assert found["before"] == found["after"]
    assert run(*arguments) == 2
    assert "holds a training already; give --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no data set is given; name its folder"),
        (("/nowhere",), "/nowhere: data set: is not there; a folder is needed"),
        (("DATA", "--format", "zip"), "format: is 'zip'; accepted are auto"),
        (("DATA", "--model", "sam9"), "model 'sam9' is unknown"),
        (("DATA", "--weights", "/none.pt"), "no such weights file"),
        (("DATA", "--set", "colour"), "--set 'colour' is no KEY=VALUE"),
        (("DATA", "--set", "color=1"), "there is no such key; did you mean colour?"),
        (("DATA", "--steps", "0"), "steps: 0 is not accepted"),
        (("DATA", "--held-out", "1"), "none of its 6 samples is held out; raise held_out"),
        (("DATA", "--resume"), "no last.pt to go on from"),
        (("DATA", "--device", "tpu9"), "device 'tpu9' is unknown"),
        (("DATA", "--freeze", "head"), "freeze 'head' fits no parameter"),
        (("DATA", "--config", "/none.yaml"), "/none.yaml: no such file"),
        (("DATA", "--json", "/nowhere/f.json"), "there is no directory /nowhere"),
    ],
)
def test_bad_input_is_one_line(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    line = [str(data) if a == "DATA" else a for a in arguments]
    if "--held-out" not in line:
        line += ["--held-out", str(PERCENT)]
    assert run(*line, "--out", str(tmp_path / "out")) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("maskcast: ")
    assert said in last


def test_all_faults_are_listed_before_anything_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_set(tmp_path / "set", 6)
    (root / "masks" / "circle1.png").write_bytes(b"no picture")
    (root / "masks" / "circle3.png").unlink()
    out = tmp_path / "out"
    assert run(str(root), "--out", str(out), "--held-out", str(PERCENT)) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "circle1" in last
    assert "circle3" in last
    assert "--skip-faulty trains on the rest" in last
    assert not (out / "last.pt").exists()


def test_weights_are_blended() -> None:
    start, trained = {"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([1.0, 4.0])}
    assert torch.equal(blend(start, trained, 0.25)["w"], torch.tensor([0.25, 2.5]))
    assert torch.equal(blend(start, trained, 0.0)["w"], start["w"])
    assert torch.equal(blend(start, trained, 1.0)["w"], trained["w"])


def test_folders_are_told_apart() -> None:
    assert short_names([Path("/a/worms")]) == ["worms"]
    assert short_names([Path("/a/test"), Path("/b/test")]) == ["a/test", "b/test"]
