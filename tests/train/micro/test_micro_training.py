"""A few steps of both trainers on data made here: the loss falls, and a resumed run is exact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sam2.modeling.position_encoding import apply_rotary_enc
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.dense import position_embeddings
from engines.micro_text import ByteTokenizer
from tests.train.micro.microscenes import discs
from train.checkpoint import export_weights, load_checkpoint, load_weights, save_checkpoint
from train.micro import clip as micro_clip
from train.micro import sam2 as micro_sam2
from train.micro.attributes import attributes_of
from train.micro.clip_data import Scene, crop_anywhere, shapes_scene, window_at_object
from train.micro.clip_losses import (
    clip_loss,
    complete_objects,
    encode_texts,
    evidence,
    window_positions,
)
from train.micro.evaluate_sam2 import measure_films, measure_stills, squeeze
from train.micro.losses import centre_targets
from train.micro.motion import Clip
from train.micro.pool import Pool
from train.micro.recipe import Clip as ClipRecipe
from train.micro.recipe import Segmenter
from train.micro.segmenter import DenseHead, pointwise_as_linear
from train.micro.steps import Heads, StepOptions, spoil, training_loss
from train.micro.trainer import Trainer
from train.micro.words import BACKGROUND, NUCLEUS, shape_concept
from train.ranks import Ranks


@pytest.fixture(autouse=True)
def plain_attention() -> Iterator[None]:
    """Plain attention, several times faster on CPU than the fused one for such narrow heads."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


ALONE = Ranks(0, 1, torch.device("cpu"))


def sam_trainer(track_from: int = 600) -> micro_sam2.SegmenterTrainer:
    recipe = Segmenter(
        stills=1, prompts=6, clips=1, warmup=1, track_from=track_from, frames=(3, 3), steps=5
    )
    pool = Pool([discs(), discs(seed=1)], [])
    return micro_sam2.SegmenterTrainer(pool, recipe, 0, ALONE)


class OneScene:
    """A pool that always gives the same scene."""

    def __init__(self) -> None:
        self.kept = shapes_scene(np.random.default_rng(2))

    def scene(self, rng: np.random.Generator, plain: bool = False) -> Scene:
        return self.kept


def clip_trainer() -> micro_clip.ClipTrainer:
    recipe = ClipRecipe(crops=2, windows=2, scenes=1, warmup=1, steps=5, object_steps=1)
    return micro_clip.ClipTrainer(OneScene(), recipe, 0, ALONE)  # type: ignore[arg-type]


def advance(trainer: Trainer) -> dict[str, float]:
    return trainer.advance(trainer.draw(trainer.step))


def test_sam_learns_a_single_batch() -> None:
    torch.manual_seed(0)
    model = micro_sam2.new_model(0)
    dense = DenseHead(model.sam_mask_decoder.conv_s0.out_channels, model.hidden_dim)
    image, ids = squeeze(discs())
    clip = Clip(image[None], ids[None])
    parameters = [*model.parameters(), *dense.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=4e-4)
    losses = []
    for _ in range(5):
        rng = np.random.default_rng(0)
        loss, parts = training_loss(
            model, Heads(dense), [clip], StepOptions(prompts_per_frame=6), rng
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert {"dense", "mask_click", "mask_box", "iou_click", "score_box"} <= set(parts)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("kind", ["sam", "clip"])
def test_resume_is_exact(kind: str, tmp_path: Path) -> None:
    def make() -> Trainer:
        return sam_trainer(track_from=1) if kind == "sam" else clip_trainer()

    first = make()
    advance(first)
    save_checkpoint(tmp_path / "last.pt", first.state())
    expected = advance(first)
    second = make()
    second.restore(load_checkpoint(tmp_path / "last.pt"))
    assert second.step == 1
    assert advance(second) == expected
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    with pytest.raises(FileNotFoundError, match="run without --resume"):
        load_checkpoint(tmp_path / "none.pt")


@pytest.mark.parametrize("hardware", [False, True])
def test_bf16_only_where_the_processor_has_it(
    hardware: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: hardware)
    trainer, seen = clip_trainer(), []

    def loss(batch: object) -> tuple[torch.Tensor, dict[str, float]]:
        seen.append(torch.is_autocast_enabled("cpu"))
        return sum(p.sum() for p in trainer.parameters) * 0.0, {}

    monkeypatch.setattr(trainer, "loss", loss)
    trainer.advance(None)
    assert seen == [hardware]


def test_batches_are_the_same_whoever_draws_them() -> None:
    trainer = sam_trainer()
    trainer.step = 3
    here, there = list(trainer.batches(0)), list(trainer.batches(1))
    assert len(here) == len(there) == 2
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one[0].images, other[0].images)


def test_products_in_place_of_narrow_convolutions() -> None:
    torch.manual_seed(0)
    conv = torch.nn.Sequential(torch.nn.Conv2d(6, 4, 1), torch.nn.Conv2d(4, 2, 3))
    images = torch.randn(2, 6, 8, 8)
    expected = conv(images)
    names = set(conv.state_dict())
    pointwise_as_linear(conv)
    assert torch.allclose(conv(images), expected, atol=1e-5)
    assert set(conv.state_dict()) == names


def test_every_weight_of_sam_gets_a_gradient() -> None:
    trainer = sam_trainer()
    rng = np.random.default_rng(1)
    image, ids = squeeze(discs())
    clip = Clip(image[None].repeat(3, 1, 1, 1), ids[None].repeat(3, 1, 1).clone())
    clip.ids[1][clip.ids[1] == 1] = 0
    reached: set[str] = set()
    for _ in range(3):
        loss, _ = training_loss(
            trainer.model,
            Heads(trainer.heads["dense"], trainer.heads["finder"]),
            [clip],
            StepOptions(prompts_per_frame=4),
            rng,
        )
        loss.backward()
        reached |= {
            n for n, p in trainer.model.named_parameters() if p.grad is not None and p.grad.any()
        }
    silent = {n for n, _ in trainer.model.named_parameters()} - reached
    # Never used by the official flags: the dummy token's code, points that are negative, and masks
    # that are absent.
    allowed = ("no_mem_pos_enc", "point_embeddings.0", "no_obj_ptr", "no_obj_embed_spatial")
    assert not [n for n in silent if not any(a in n for a in allowed)], silent


def test_clip_learns_a_single_batch() -> None:
    trainer = clip_trainer()
    scene = crop_anywhere(trainer.pool.scene(np.random.default_rng(0)), np.random.default_rng(5))
    losses = []
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=5e-4)
    for _ in range(6):
        rng = np.random.default_rng(0)
        loss, _ = clip_loss(trainer.model, trainer.heads, ByteTokenizer(), [scene], rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_evidence_is_the_logit_of_a_softmax() -> None:
    torch.manual_seed(0)
    features, query, negatives = torch.randn(5, 8), torch.randn(1, 8), torch.randn(4, 8)
    scale = torch.tensor(10.0)
    found = evidence(features, query, negatives, scale).sigmoid()[:, 0]
    texts = torch.nn.functional.normalize(torch.cat([query, negatives]), dim=-1)
    logits = scale * torch.nn.functional.normalize(features, dim=-1) @ texts.t()
    assert torch.allclose(found, logits.softmax(dim=1)[:, 0], atol=1e-5)


def test_export_and_load(tmp_path: Path) -> None:
    trainer = sam_trainer()
    path = tmp_path / "micro.safetensors"
    digest = export_weights(trainer.average.shadow, path)
    assert len(digest) == 64
    assert path.stat().st_size < 10_000_000
    other = micro_sam2.new_model(5)
    load_weights(other, path)
    for name, value in trainer.model.state_dict().items():
        assert torch.allclose(value, other.state_dict()[name], atol=2e-3), name
    broken = {"w": torch.tensor([float("nan")])}
    with pytest.raises(ValueError, match="'w' is not finite"):
        export_weights(broken, tmp_path / "broken.safetensors")
    assert not (tmp_path / "broken.safetensors").exists()


def test_measuring_runs_on_an_untrained_model() -> None:
    model = micro_sam2.new_model(0)
    image, ids = squeeze(discs())
    stills = measure_stills(model, [(image, ids)], most=3)
    assert stills["objects"] == 3
    assert 0 <= stills["click_iou"] <= 1
    film = (image[None].repeat(3, 1, 1, 1), ids[None].repeat(3, 1, 1))
    for kind in ("box", "mask"):
        assert 0 <= measure_films(model, [film], kind, most=2)["iou_at_1"] <= 1


def test_short_texts_embed_as_padded_ones() -> None:
    model = micro_clip.new_model()
    tokens = ByteTokenizer()(["cell", "紅色圓形", ""])
    with torch.inference_mode():
        short, padded = encode_texts(model, tokens), model.encode_text(tokens)
    assert torch.allclose(short, padded, atol=1e-5)


def test_damage_stays_local_and_differentiable() -> None:
    torch.manual_seed(0)
    logits = torch.full((6, 64, 64), -4.0)
    logits[:, 20:30, 20:30] = 4.0
    logits.requires_grad_()
    clip = torch.tensor([0, 0, 0, 1, 1, 1])
    damaged = spoil(logits, clip, np.random.default_rng(0), share=1.0)
    assert damaged.shape == logits.shape
    assert not torch.equal(damaged, logits)
    damaged.sum().backward()
    assert logits.grad is not None
    untouched = spoil(logits, clip, np.random.default_rng(0), share=0.0)
    assert torch.equal(untouched, logits)


def test_memory_is_read_locally_at_birth() -> None:
    attention = micro_sam2.new_model(0).memory_attention.layers[0].cross_attn_image
    projections = (attention.q_proj, attention.k_proj)
    query, key = (p.bias.view(1, 1, 1, -1).repeat(1, 1, 256, 1) for p in projections)
    with torch.inference_mode():
        query, key = apply_rotary_enc(query, key, freqs_cis=attention.freqs_cis)
        weight = (query @ key.transpose(-1, -2) / 128**0.5).softmax(dim=-1)[0, 0]
    centre = 8 * 16 + 8
    near = weight[centre].view(16, 16)[6:11, 6:11].sum()
    assert int(weight[centre].argmax()) == centre
    assert near > 0.95


def test_ways_lead_to_the_centre_of_the_own_object() -> None:
    ids = torch.zeros(2, 16, 16, dtype=torch.int32)
    ids[0, 0:8, 0:8] = 5
    ids[1, 8:16, :] = 5
    ways = centre_targets(ids)
    assert ways.shape == (2, 2, 4, 4)
    # Cells of 4 px; the middle lies half a cell away, and 32 px count as 1.
    assert torch.allclose(ways[0, :, 0, 0], torch.tensor([2 / 32, 2 / 32]))
    assert torch.allclose(ways[1, 0, 3], torch.tensor([6.0, 2.0, -2.0, -6.0]) / 32)
    assert torch.allclose(ways[1, 1, 3], torch.full((4,), -2 / 32))
    assert not ways[0, :, 2:].any()


def test_only_objects_that_no_edge_cuts_are_told_apart() -> None:
    objects = torch.zeros(64, 64, dtype=torch.long)
    objects[16:32, 24:40], objects[0:20, 50:60] = 7, 9  # the second leaves the picture
    regions = (objects > 0).long()
    scene = Scene(torch.zeros(3, 64, 64), regions, objects, (BACKGROUND, NUCLEUS))
    found = complete_objects([scene, scene], np.random.default_rng(0))
    assert found.picture.tolist() == [0, 1]
    assert found.concept.tolist() == [1, 4]  # each picture's table has three rows
    tokens = torch.arange(16.0).view(1, 16, 1).repeat(2, 1, 1)
    # Half of it lies in patch 5, half in patch 6.
    assert found.pooled(tokens).flatten().tolist() == [5.5, 5.5]


def test_small_windows_hold_their_object_whole() -> None:
    rng = np.random.default_rng(3)
    scene = shapes_scene(rng)
    windows = [window_at_object(scene, rng, 96) for _ in range(30)]
    kept = [window for window in windows if window is not None]
    assert kept, "some shapes are smaller than 96 px"
    assert all(len(complete_objects([window], rng)) for window in kept)
    assert all(window.image.shape == (3, 96, 96) for window in kept)


def test_positions_of_a_window_are_those_of_its_place() -> None:
    model = micro_clip.new_model()
    scene = shapes_scene(np.random.default_rng(0))
    window = window_at_object(scene, np.random.default_rng(1))
    assert window is not None
    assert window.corner is not None
    y, x = window.corner
    offsets = [(dy, dx) for dy in range(16) for dx in range(16)]
    assert any(
        torch.equal(
            window.image,
            scene.image[:, 16 * y + dy : 16 * y + dy + 192, 16 * x + dx : 16 * x + dx + 192],
        )
        for dy, dx in offsets
    )
    with torch.inference_mode():
        whole = position_embeddings(model.visual, (32, 32))[1:].view(32, 32, -1)
        found = window_positions(model, [window])
    assert found is not None
    assert torch.equal(found[1:].view(12, 12, -1), whole[y : y + 12, x : x + 12])


def test_attributes_follow_names() -> None:
    assert attributes_of(NUCLEUS) == {"family": 1, "colour": -1, "shape": -1, "size": -1}
    found = attributes_of(shape_concept("blue", "star", "large"))
    assert found == {"family": 5, "colour": 2, "shape": 3, "size": 1}
