"""The recipe: the packaged file says what the defaults say, and bad values are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.errors import ConfigError, UsageError
from train.micro.recipe import MicroRecipe
from train.recipes import load_recipe

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "train" / "micro.yaml"


def test_the_file_says_what_the_defaults_say() -> None:
    assert load_recipe(MicroRecipe, CONFIG, {}) == MicroRecipe()


def test_overrides_reach_into_sections(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("clip: {steps: 7}\n")
    found = load_recipe(MicroRecipe, path, {"clip.crops": 2, "seed": 3, "held_out": None})
    assert (found.clip.steps, found.clip.crops, found.seed, found.held_out) == (7, 2, 3, 20)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("clip: {step: 7}", "clip.step: there is no such key; did you mean steps?"),
        ("sede: 7", "sede: there is no such key; did you mean seed?"),
        ("segmenter: {rate: 0}", "segmenter.rate: 0 is not accepted: needed is greater than 0"),
        (
            "segmenter: {frames: [5, 3]}",
            "segmenter: {'frames': [5, 3]} is not accepted: "
            "frames [5, 3]: the shortest clip comes first",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(MicroRecipe, path, {})
    assert str(caught.value) == error


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.yaml: no such file; a recipe is a YAML file"):
        load_recipe(MicroRecipe, tmp_path / "none.yaml", {})
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="holds no keys"):
        load_recipe(MicroRecipe, tmp_path / "list.yaml", {})
