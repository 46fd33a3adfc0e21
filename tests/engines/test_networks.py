"""Networks for export: the numbers of the modules they are made of, and nothing from padding."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from engines.attention import Memories, MemoryAttention
from engines.networks import (
    AttentionToMemory,
    ImageEncoder,
    MaskDecoder,
    MaskMemory,
    Port,
    SharedQueries,
    Signature,
    sam2_networks,
)
from engines.networks.mask_decoder import PointCode
from engines.networks.memory_attention import NOT_THERE
from engines.registry import load_sam2
from engines.tracker import Tracker
from tests.support.runners import torch_runners

SIDE = 64
GRID = SIDE // 16


@cache
def model(name: str = "micro") -> Any:
    return load_sam2(name, "random:3", SIDE).model


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["micro", "sam2.1-tiny"])
def test_image_encoder_is_the_official_one(name: str) -> None:
    """In double precision, where the order of sums does not show: what is joined is the same."""
    image, exact = noise(1, 3, SIDE, SIDE).double(), copy.deepcopy(model(name)).double()
    trunk, neck = exact.image_encoder.trunk, exact.image_encoder.neck
    stages = trunk(image)
    for fed, fuse, mode in (
        (neck.fpn_top_down_levels, neck.fuse_type, neck.fpn_interp_model),
        ([2, 3], "sum", "nearest"),
        ([0, 1, 2, 3], "avg", "nearest"),
        ([1, 2, 3], "sum", "bilinear"),
    ):
        neck.fpn_top_down_levels, neck.fuse_type, neck.fpn_interp_model = fed, fuse, mode
        decoder, levels = exact.sam_mask_decoder, neck([stage.double() for stage in stages])[0]
        quarter, half = decoder.conv_s0(levels[0].double()), decoder.conv_s1(levels[1].double())
        network = ImageEncoder(exact).double()
        for found, official in zip(network(image), (levels[2], half, quarter), strict=True):
            # The official neck brings what it enlarges to float32.
            torch.testing.assert_close(found, official.double(), atol=1e-5, rtol=1e-5)


def attention_inputs(count: int, tokens: int) -> dict[str, torch.Tensor]:
    network = AttentionToMemory(model())
    sizes = {"B": count, "R": 1, "n": GRID**2, "K": tokens}
    out = network.example(sizes)
    out["looked"] = torch.arange(GRID**2)[None]
    out["places"] = torch.arange(tokens)[None] % (GRID**2 + 1)
    return out


@torch.inference_mode()
def test_padding_changes_nothing() -> None:
    network = AttentionToMemory(model())
    inputs = attention_inputs(2, 40)
    plain = network(**inputs)
    padded = dict(inputs)
    for name in ("keyed", "values"):
        padded[name] = torch.cat([inputs[name], 100 * noise(2, 7, inputs[name].shape[2])], 1)
    padded["places"] = torch.cat([inputs["places"], torch.zeros(1, 7, dtype=torch.int64)], 1)
    padded["bias"] = torch.cat([inputs["bias"], torch.full((2, 1, 7), NOT_THERE)], 2)
    assert torch.allclose(network(**padded), plain, atol=1e-6)
    padded["bias"] = padded["bias"].clone()
    padded["bias"][..., -1] = 0.0  # one of them counts after all
    assert not torch.allclose(network(**padded), plain, atol=1e-3)


@torch.inference_mode()
def test_attention_is_that_of_the_eager_tracker() -> None:
    inputs = attention_inputs(2, 2 * GRID**2 + 2)
    places = torch.cat([torch.arange(GRID**2).repeat(2), torch.full((2,), GRID**2)])
    inputs["places"] = places[None]
    eager = MemoryAttention(model().memory_attention, torch.float32)
    top = noise(1, model().hidden_dim, GRID, GRID)
    x, q = SharedQueries(model())(top)
    code = model().image_encoder.neck.position_encoding(top)[0].flatten(1).T
    shared = eager.share(top[0].flatten(1).T, code)
    assert torch.allclose(x[0], shared.x, atol=1e-5)
    assert torch.allclose(q[0], shared.q, atol=1e-5)
    frames = 2 * GRID**2

    def keys(layer: int) -> torch.Tensor:
        spatial, words = inputs["keyed"][:, :frames], inputs["keyed"][:, frames:]
        blank = torch.zeros(GRID**2, model().mem_dim)
        per_frame = spatial.view(2, 2, GRID**2, -1)
        turned = eager.project(layer, per_frame, blank).flatten(1, 2)
        return torch.cat([turned, eager.project_pointers(layer, words, 0 * words)], 1)

    wanted = eager(shared, Memories(keys, inputs["values"]))
    found = AttentionToMemory(model())(
        **{**inputs, "x": x.expand(2, -1, -1), "q": q.expand(2, -1, -1)}
    )
    assert torch.allclose(found, wanted, atol=1e-4)


@torch.inference_mode()
def test_unused_slots_for_points_change_nothing() -> None:
    sam, decoder = model(), MaskDecoder(model())
    coords = torch.tensor([[[10.0, 20.0], [40.0, 50.0]]])
    labels = torch.tensor([[1, 0]], dtype=torch.int32)
    rest = {
        "pix": noise(1, sam.hidden_dim, GRID, GRID),
        "code": sam.sam_prompt_encoder.get_dense_pe(),
        "half": noise(1, sam.hidden_dim // 4, 2 * GRID, 2 * GRID),
        "quarter": noise(1, sam.hidden_dim // 8, 4 * GRID, 4 * GRID),
        "drawn": torch.zeros(1, 1, 4 * GRID, 4 * GRID),
        "is_drawn": torch.zeros(1, 1, 1, 1),
    }
    results = []
    for slots in (3, 8):
        points, missing = PointCode(sam)(coords, labels, slots)
        results.append(decoder(**rest, points=points, missing=missing))
    for few, many in zip(*results, strict=True):
        assert torch.allclose(few, many, atol=1e-5)
    sparse, dense = sam.sam_prompt_encoder(points=(coords, labels), boxes=None, masks=None)
    official = sam.sam_mask_decoder.predict_masks(
        rest["pix"], rest["code"], sparse, dense, False, [rest["quarter"], rest["half"]]
    )
    assert torch.allclose(results[1][0], official[0], atol=1e-4)
    assert torch.allclose(results[1][3], official[3], atol=1e-5)


def test_too_few_slots_are_an_error() -> None:
    labels = torch.ones(1, 2, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"2 slots are too few for 2 points and the padding token"):
        PointCode(model())(torch.zeros(1, 2, 2), labels, 2)


@torch.inference_mode()
@pytest.mark.parametrize("binary", [0.0, 1.0])
def test_memory_encoder_is_the_official_one(binary: float) -> None:
    sam = model("sam2.1-tiny")
    top, low = noise(1, sam.hidden_dim, GRID, GRID), 4 * noise(2, 1, 4 * GRID, 4 * GRID)
    found = MaskMemory(sam)(top, low, torch.full((2, 1, 1, 1), binary))
    high = torch.nn.functional.interpolate(low, (SIDE, SIDE), mode="bilinear", align_corners=False)
    mask = (high > 0).float() if binary else torch.sigmoid(high)
    scaled = mask * sam.sigmoid_scale_for_mem_enc + sam.sigmoid_bias_for_mem_enc
    official = sam.memory_encoder(top.expand(2, -1, -1, -1), scaled, skip_mask_sigmoid=True)
    assert torch.allclose(found, official["vision_features"], atol=1e-5)


@pytest.mark.parametrize("name", ["micro", "sam2.1-tiny"])
def test_a_tracker_on_networks_gives_what_the_eager_one_gives(name: str) -> None:
    """Clicks, boxes, masks, late prompts and corrections, objects that began at other times."""
    sam = model(name)
    rng = np.random.default_rng(0)
    mask = np.zeros((48, 60), dtype=np.bool_)
    mask[10:30, 20:40] = True
    trackers = [
        Tracker(sam, rendered_prompts=name == "micro"),
        Tracker(sam, rendered_prompts=name == "micro", engines=torch_runners(sam)),
    ]
    for index in range(9):
        image = rng.integers(0, 255, (48, 60, 3), dtype=np.uint8)
        results = []
        for tracker in trackers:
            features = tracker.encode(image)
            if index == 0:
                tracker.add_object(1, 0, features, box=(5.0, 5.0, 30.0, 40.0))
                tracker.add_object(2, 0, features, points=[(40.0, 20.0)], labels=[1])
            if index == 4:
                tracker.add_object(3, 4, features, mask=mask)
                tracker.add_object(2, 2, points=[(42.0, 21.0)], labels=[0])
            results.append(tracker.step(index, features))
        eager, exported = results
        assert list(eager) == list(exported)
        for number, result in eager.items():
            scale = max(float(np.abs(result.logits).max()), 1.0)
            assert np.abs(result.logits - exported[number].logits).max() < 2e-4 * scale
            assert abs(result.object_score - exported[number].object_score) < 1e-3
            assert np.allclose(result.pointer, exported[number].pointer, atol=1e-3)


def test_every_network_says_what_it_takes() -> None:
    for name, network in sam2_networks(model()).items():
        sizes = {"B": 2, "R": 1, "n": 5, "K": 9, "P": 3, "s": 4, "s2": 8, "s4": 16}
        inputs = network.example(sizes)
        assert network.signature.check(inputs).keys() <= sizes.keys(), name
        with torch.inference_mode():
            found = network(**inputs)
        found = found if isinstance(found, tuple) else (found,)
        for port, tensor in zip(network.signature.outputs, found, strict=True):
            shape = tuple(sizes[s] if isinstance(s, str) else s for s in port.shape)
            assert tuple(tensor.shape) == shape, f"{name}.{port.name}"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, r"input 'a' is missing; needed are \['a', 'b'\]"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(2)}, "accepted is int64"),
        (
            {"a": torch.zeros(2, 3), "b": torch.zeros(5, dtype=torch.int64)},
            r"input 'b' is \(5,\); accepted is \('n',\) with n = 2",
        ),
        (
            {"a": torch.zeros(2, 4), "b": torch.zeros(2, dtype=torch.int64)},
            r"input 'a' is \(2, 4\); accepted is \('n', 3\) with 3 = 3",
        ),
    ],
)
def test_wrong_inputs_are_named(tensors: dict[str, torch.Tensor], message: str) -> None:
    signature = Signature((Port("a", ("n", 3)), Port("b", ("n",), "int64")), ())
    with pytest.raises(ValueError, match=message):
        signature.check(tensors)
