"""Operations counted by shape against the same worked out by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import count_detection
from count_detection import Parts, Setting, count, count_all, guarded, main, options

WIDTH, DIM, LAYERS, PATCH, HEADS = 64, 16, 3, 32, 1
SIZE_PX = 128
PATCHES = (SIZE_PX // PATCH) ** 2
TOKENS = PATCHES + 1
SMALL = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": 64, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH},
    "text_cfg": {"context_length": 8, "vocab_size": 300, "width": 16, "heads": 2, "layers": 1},
}
SETTING = Setting("ViT-count", SIZE_PX, 3, "micro", 256)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-count", SMALL)


def block(queries: int, keys: int, inputs: int) -> int:
    """A transformer block for some queries: a multiplication and an addition are two."""
    qkv = 2 * inputs * WIDTH * 3 * WIDTH
    attention = 2 * (2 * queries * keys * WIDTH)
    out = 2 * queries * WIDTH * WIDTH
    mlp = 2 * (2 * queries * WIDTH * 4 * WIDTH)
    return qkv + attention + out + mlp


def patching(patches: int) -> int:
    return 2 * patches * WIDTH * 3 * PATCH * PATCH


def projection(rows: int) -> int:
    return 2 * rows * WIDTH * DIM


def test_the_dense_pass_by_hand() -> None:
    # The last block: its class token goes the ordinary way, its patches are gathered locally.
    last = block(1, TOKENS, TOKENS)
    last += 2 * (2 * TOKENS * TOKENS * WIDTH) + 2 * TOKENS * WIDTH * WIDTH
    expected = patching(PATCHES) + (LAYERS - 1) * block(TOKENS, TOKENS, TOKENS) + last
    assert Parts(SETTING).dense() == expected + projection(1 + PATCHES)


def test_mask_tokens_by_hand() -> None:
    assert Parts(SETTING).tokens(5) == LAYERS * block(5, TOKENS, 5) + projection(5)


def test_crops_by_hand() -> None:
    one = patching(4) + LAYERS * block(5, 5, 5) + projection(1)
    assert Parts(SETTING).crops(3) == 3 * one


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_attention_is_counted_whatever_the_kernel(device: str) -> None:
    layer = torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True).eval().to(device)
    tokens = torch.zeros(1, 10, WIDTH, device=device)
    expected = 2 * 10 * WIDTH * 4 * WIDTH + 2 * (2 * 10 * 10 * WIDTH)
    before = torch.backends.mha.get_fastpath_enabled()
    assert count(lambda: layer(tokens, tokens, tokens, need_weights=False)) == expected
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_prompts_cost_their_number() -> None:
    parts = Parts(SETTING)
    one, boxed = parts.decodes(1, boxes=False), parts.decodes(1, boxes=True)
    # Decoded 32 at a time; the code of the places is made once for each of these.
    assert parts.decodes(64, boxes=False) == pytest.approx(64 * one, rel=0.01)
    assert one < boxed < 1.1 * one, "a box is two more tokens among many pixels"


def test_the_event_is_the_sum_of_its_parts() -> None:
    figures = count_all(SETTING)
    parts, extra = figures["parts_gflop"], figures["extra_gflop"]
    assert list(parts) == ["dense pass", "3 decodes (point and box)", "3 mask tokens"]
    assert figures["event_gflop"] == pytest.approx(sum(parts.values()))
    assert figures["share"] == pytest.approx(figures["event_gflop"] / figures["encoder_gflop"])
    assert extra["tiles 2: 3 more passes"] == pytest.approx(3 * parts["dense pass"])
    assert list(extra)[2:5] == [f"grid of {n} x {n} clicks" for n in (8, 16, 32)]
    assert figures["patches"] == {"one": 4, "tiles": 7}


def run(*arguments: str) -> int:
    return guarded(main, options().parse_args(list(arguments)))


def test_it_writes_what_it_prints(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "counts.json"
    given = ["--clip", "ViT-count", "--clip-size", "128", "--model", "micro", "--image-size", "256"]
    assert run(*given, "--json", str(path)) == 0
    written = json.loads(path.read_text())
    assert written["event_gflop"] > 0
    assert "the event" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--clip", "ViT-Z"], "'ViT-Z' is unknown"),
        (["--clip", "ViT-count", "--clip-size", "100", "--model", "micro", "--image-size", "256"],
         "CLIP size 100 px is no multiple of ViT-count's patches of 32 px"),
        (["--model", "sam9"], "'sam9' is unknown"),
        (["--image-size", "100"], "image_size 100 is not usable"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_one_line(given: list[str], message: str, capsys: Any) -> None:
    assert run(*given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert count_detection.MOST_SHARE == 0.5
