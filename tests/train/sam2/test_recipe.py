"""The recipe: its defaults, its YAML and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.errors import ConfigError, UsageError
from train.sam2.recipe import Recipe, load_recipe


def test_defaults_are_the_models_own() -> None:
    small = load_recipe(None, {"data": "x"}).resolved()
    large = load_recipe(None, {"data": "x", "model": "sam2.1-tiny"}).resolved()
    assert (small.mask_loss, small.weight_mask, small.corrections) == ("bce", 1.0, 2)
    assert (large.mask_loss, large.weight_mask, large.corrections) == ("focal", 20.0, 7)
    weights = (large.weight_dice, large.weight_iou, large.weight_score)
    assert weights == (1.0, 1.0, 1.0)
    assert large.lr == 5e-6
    assert small.rendered
    assert not large.rendered
    assert small.steps == 1000
    assert load_recipe(None, {"data": "x", "minutes": 3}).resolved().steps is None
    focal = load_recipe(None, {"data": "x", "mask_loss": "focal", "lr": 0.1}).resolved()
    assert (focal.weight_mask, focal.lr) == (20.0, 0.1)
    unsaid = {name for name, value in small if value is None}
    assert unsaid == {"split", "weights", "image_size", "minutes", "eval_every"}


def test_the_line_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: films\ntrain: all\nlr: 0.001\ntest: [a, b]\n")
    recipe = load_recipe(path, {"lr": 0.5, "train": None})
    assert recipe.data == Path("films")
    assert (recipe.train, recipe.lr) == ("all", 0.5)
    assert recipe.test == (Path("a"), Path("b"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"lrr": 1}, "lrr: there is no such key; did you mean lr?"),
        ({"train": "some"}, "train: 'some' is not accepted: needed is 'decoder', 'memory' or"),
        ({"image_size": 100}, "image_size: 100 is not accepted"),
        ({"model": "sam3"}, "model 'sam3' is unknown; accepted: micro, sam2.1-tiny"),
        ({"box": 0, "click": 0}, "box and click are both 0"),
        ({"held_out": 0, "patience": 2}, "patience 2 needs held-out samples"),
        ({"wise": 1.5}, "wise: 1.5 is not accepted"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(None, {"data": "x"} | values)
    assert said in str(caught.value)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_recipe(tmp_path / "none.yaml", {})
    path = tmp_path / "recipe.yaml"
    path.write_text("- a\n")
    with pytest.raises(UsageError, match="holds no keys"):
        load_recipe(path, {})
    path.write_text("{")
    with pytest.raises(UsageError, match="not readable as YAML"):
        load_recipe(path, {})
    with pytest.raises(UsageError, match="no data set is given"):
        load_recipe(None, {})


def test_every_field_has_a_use() -> None:
    """A key that nothing reads would be a promise that is not kept."""
    folder = Path(__file__).parents[3] / "train" / "sam2"
    code = "\n".join(p.read_text() for p in folder.glob("*.py") if p.name != "recipe.py")
    own = ("model", "rendered")
    for name in Recipe.model_fields:
        assert f"recipe.{name}" in code or name in own, name
