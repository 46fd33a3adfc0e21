"""What is trained, that parts add up, that a resumed run is exact, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engines.errors import ModelError
from engines.registry import load_clip
from stream.errors import UsageError
from tests.train.clip import tinyclip
from train.checkpoint import load_checkpoint, save_checkpoint
from train.clip.attributes import Swapper
from train.clip.draws import Draws
from train.clip.measure import measure, read_held_out
from train.clip.pictures import eye_of
from train.clip.run import fine_tune
from train.clip.towers import at_rest, choose_trained, parameter_groups
from train.clip.trainer import Trainer


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tinyclip.register(monkeypatch)


def trainer(*, masks: bool = False, **values: object) -> Trainer:
    towers, recipe = tinyclip.towers(), tinyclip.recipe(**values)
    swapper = Swapper([f"a {c} square" for c in tinyclip.COLOURS])
    eye = eye_of(towers.model.visual, 64)
    samples = tinyclip.dataset(masks=masks).images
    draws = Draws(samples, eye, recipe, dense=masks, swapper=swapper)
    return Trainer(towers, draws, recipe, 1.0)


@pytest.mark.parametrize(
    ("part", "freeze_text", "yes", "no"),
    [
        (
            "projection", False, ["visual.proj", "text_projection", "logit_scale"],
            ["visual.ln_post", "ln_final", "visual.conv1", "token_embedding"],
        ),
        (
            "last:1", False,
            ["visual.transformer.resblocks.1", "transformer.resblocks.1", "visual.ln_post",
             "ln_final", "visual.proj"],
            ["visual.transformer.resblocks.0", "transformer.resblocks.0", "visual.ln_pre"],
        ),
        ("last:1", True, ["visual.transformer.resblocks.1"], ["transformer.resblocks.1",
                                                             "text_projection", "ln_final"]),
        ("all", True, ["visual.conv1", "logit_scale"], ["token_embedding", "text_projection"]),
        ("all", False, ["visual.conv1", "token_embedding", "positional_embedding"], []),
    ],
)  # fmt: skip
def test_what_is_trained(part: str, freeze_text: bool, yes: list[str], no: list[str]) -> None:
    model = tinyclip.towers().model
    names = choose_trained(model, part, freeze_text)
    assert all(any(name.startswith(start) for name in names) for start in yes)
    assert not [name for name in names if name.startswith(tuple(no))]
    groups = parameter_groups(model, 0.1)
    assert all(p.ndim >= 2 for p in groups[0]["params"])
    assert any(p is model.logit_scale for p in groups[1]["params"])
    assert sum(len(g["params"]) for g in groups) == len(names)


def test_only_what_is_trained_moves() -> None:
    run = trainer(train="last:1", freeze_text=True)
    before = run.weights()
    run.advance()
    moved = {n for n, v in run.weights().items() if not torch.equal(v, before[n])}
    assert moved
    assert moved <= set(run.trained)
    assert all(n.startswith("visual.") or n == "logit_scale" for n in moved)
    assert not run.towers.model.transformer.training


def test_nothing_is_dropped_out_while_measuring() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Dropout(0.5).eval())
    with at_rest(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model] == [True, False]


def test_more_blocks_than_there_are() -> None:
    with pytest.raises(UsageError, match=r"'last:3': the image tower has 2 blocks"):
        choose_trained(tinyclip.towers().model, "last:3", False)


@pytest.mark.parametrize("masks", [False, True])
def test_a_batch_in_parts_is_the_whole_batch(masks: bool) -> None:
    gradients, losses = [], []
    for parts in (1, 4):
        run = trainer(masks=masks, batch=32, accumulate=parts, clip_norm=1e9)
        losses.append(run.advance()["loss"])
        gradients.append({n: p.grad for n, p in run.towers.model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for name, whole in gradients[0].items():
        assert torch.allclose(whole, gradients[1][name], atol=1e-5), name


def test_texts_are_cut_to_the_longest_without_a_difference() -> None:
    towers = tinyclip.towers()
    texts = ["a red square", "two large blue circles on the left"]
    whole = towers.model.encode_text(towers.tokenizer(texts))
    assert torch.allclose(towers.texts(texts), whole, atol=1e-6)


def test_resume_is_exact(tmp_path: Path) -> None:
    first = trainer(masks=True)
    for _ in range(2):
        first.advance()
    first.look(0.5)
    save_checkpoint(tmp_path / "last.pt", first.state())
    expected = first.advance()
    second = trainer(masks=True)
    second.restore(load_checkpoint(tmp_path / "last.pt"))
    assert (second.step, second.stop.best) == (2, 0.5)
    assert second.advance() == expected
    for name, value in first.weights().items():
        assert torch.equal(value, second.weights()[name]), name
    other = trainer(masks=True, batch=6)
    with pytest.raises(UsageError, match="batch was 8 and is 6; give 8"):
        other.restore(load_checkpoint(tmp_path / "last.pt"))


def test_logit_scale_is_clamped_and_bad_steps_are_not_taken() -> None:
    run = trainer()
    with torch.no_grad():
        run.towers.model.logit_scale.fill_(9.0)
    run.advance()
    assert float(run.towers.scale.detach()) == pytest.approx(100.0, abs=1e-3)
    with torch.no_grad():
        run.towers.model.logit_scale.fill_(math.nan)
    run.advance()
    assert run.skipped == 1


def test_patches_learn_their_labels() -> None:
    run = trainer(masks=True, steps=20, batch=12)
    held = read_held_out(tinyclip.dataset(2, masks=True).images, run.draws._eye, 12, print)
    before = measure(run.towers, held, Swapper())
    for _ in range(20):
        run.advance()
    run.towers.model.eval()
    after = measure(run.towers, held, Swapper())
    assert before["dense_label"] < 0.5
    assert after["dense_label"] > 0.8
    assert after["dense_auc"] > 0.9


def stop_after(steps: int) -> Callable[[], bool]:
    count = [0]

    def asked() -> bool:
        count[0] += 1
        return count[0] >= steps

    return asked


def test_a_fine_tuning_from_end_to_end(tmp_path: Path) -> None:
    data = tinyclip.dataset(8)
    recipe = tinyclip.recipe(steps=30, batch=16, eval_every=10)
    stopped = fine_tune(recipe, tmp_path, stop=stop_after(3), show=False, open_=lambda *_: data)
    assert (stopped.finished, stopped.steps, stopped.kept) == (False, 3, None)
    with pytest.raises(UsageError, match="holds a training already; give --resume"):
        fine_tune(recipe, tmp_path, show=False, open_=lambda *_: data)
    done = fine_tune(recipe, tmp_path, resume=True, show=False, open_=lambda *_: data)
    assert done.kept is not None
    assert (done.finished, done.steps) == (True, 30)
    assert done.before["recall"] < 0.5
    assert done.kept.figures["recall"] > 0.85
    assert done.kept.figures["attribute"] > 0.9
    assert [row.alpha for row in done.table] == [0.0, 0.5, 1.0]
    assert done.table[0].figures["agreement"] == 1.0  # share 0 is the model it began with
    assert done.table[0].figures["text_cosine"] == pytest.approx(1.0, abs=1e-3)
    _loads_and_is_what_was_measured(tmp_path, done.kept.figures["recall"])
    names = ("README.md", "maskcast_model.json", "log.jsonl", "loss.png", "held_out.png")
    assert all((tmp_path / name).is_file() for name in names)


def _loads_and_is_what_was_measured(folder: Path, recall: float) -> None:
    loaded = load_clip(tinyclip.NAME, str(folder))
    towers = tinyclip.towers(1)
    towers.model.load_state_dict(loaded.model.state_dict())
    held = [s for s in tinyclip.dataset(8).images if _held(s.name)]
    found = measure(towers, read_held_out(held, eye_of(towers.model.visual, 32), 99, print),
                    Swapper())  # fmt: skip
    assert found["recall"] == pytest.approx(recall)


def _held(name: str) -> bool:
    from train.readers import held_out

    return held_out(name, 30)


def test_micro_trains_and_what_did_not_help_is_not_kept(tmp_path: Path) -> None:
    data = tinyclip.dataset(3)
    recipe = tinyclip.recipe(
        model="micro", weights=None, steps=1, batch=4, train="projection", lr=1e-9, wise_steps=1
    )
    done = fine_tune(recipe, tmp_path, show=False, open_=lambda *_: data)
    assert done.kept is not None
    assert done.kept.alpha == 0.0
    shipped, mine = load_clip("micro").model, load_clip("micro", str(tmp_path)).model
    for name, value in shipped.state_dict().items():
        assert torch.equal(value, mine.state_dict()[name]), name
    with pytest.raises(ModelError, match="was trained from micro, not from ViT-B-32"):
        load_clip("ViT-B-32", str(tmp_path))
