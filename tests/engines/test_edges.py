"""Masks whose edges are drawn again: where windows lie, and that what comes back lies there too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from engines.closeups import (
    SIDE_PX,
    WIDER,
    WIDER_PX,
    around,
    dots,
    exposure,
    look,
    rectangles,
    windows_of,
)
from engines.edges import AT_ONCE, LENIENCE, Edges, Outline
from engines.eight_bit import packed
from engines.errors import ModelError
from engines.refiner import CHANNELS, WIDER_CHANNELS, Drawing, Refiner, load_refiner
from engines.registry import load_edges, refiner_path

IMAGE = np.zeros((120, 160, 3), np.uint8)


class Told(nn.Module):
    """A network that answers by a rule."""

    def __init__(self, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rule = rule
        self.wider: list[Tensor] = []

    def forward(self, x: Tensor, wider: Tensor) -> Drawing:
        """Draw by the rule; the judge believes in what is large."""
        self.wider.append(wider)
        logits = self.rule(x)
        return Drawing(logits, (logits > 0).flatten(1).float().mean(dim=1))


def same_mask(x: Tensor) -> Tensor:
    return x[:, 3]


def edges(rule: Callable[[Tensor], Tensor] = same_mask, **how: bool) -> Edges:
    return Edges(Told(rule), precision="fp32", **how)  # type: ignore[arg-type]


def disc(x: float, y: float, radius: float) -> Outline:
    rows, columns = np.mgrid[: IMAGE.shape[0], : IMAGE.shape[1]]
    whole = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < radius**2
    down, across = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    x0, y0, x1, y1 = int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1
    return Outline(whole[y0:y1, x0:x1], (x0, y0, x1, y1))


def painted(mask: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    whole = np.zeros(IMAGE.shape[:2], bool)
    whole[box[1] : box[3], box[0] : box[2]] = mask
    return whole


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(
    ("x", "y", "radius"), [(80, 60, 20.0), (31.5, 77.5, 6.0), (3, 4, 12.0), (155, 118, 9.0)]
)
def test_a_network_that_changes_nothing_gives_the_mask_back(
    x: float, y: float, radius: float
) -> None:
    outline = disc(x, y, radius)
    mask, box = edges().draw(IMAGE, [outline])[0]
    assert iou(painted(mask, box), painted(outline.mask, outline.box)) > 0.97


def test_a_window_that_is_larger_than_the_network_sees_is_brought_back_too() -> None:
    outline = disc(80, 60, 55.0)
    mask, box = edges().draw(IMAGE, [outline])[0]
    assert iou(painted(mask, box), painted(outline.mask, outline.box)) > 0.97


def test_the_edge_is_taken_from_the_image() -> None:
    image = IMAGE.copy()
    true = disc(70.0, 50.0, 14.0)
    image[painted(true.mask, true.box)] = 200
    near = disc(72.0, 51.0, 11.0)
    mask, box = edges(lambda x: x[:, :3].mean(dim=1)).draw(image, [near])[0]
    assert iou(painted(mask, box), painted(true.mask, true.box)) > 0.95
    assert box == true.box


def test_a_given_box_is_drawn_and_sets_the_window() -> None:
    seen = {}

    def keep(x: Tensor) -> Tensor:
        seen["box"], seen["mask"] = x[0, 4], x[0, 3]
        return x[:, 4] * 2 - 1

    outline = replace(disc(70, 50, 8.0), given=(60.0, 40.0, 90.0, 70.0))
    mask, box = edges(keep).draw(IMAGE, [outline])[0]
    assert box == (60, 40, 90, 70)
    assert mask.all()
    assert float(seen["box"].sum()) == pytest.approx((SIDE_PX / 2) ** 2)
    assert float(((seen["mask"] + 1) / 2).sum()) == pytest.approx(
        outline.mask.sum() * (SIDE_PX / 60) ** 2, rel=0.05
    )


def test_where_nothing_would_be_left_the_mask_stays() -> None:
    outline = disc(80, 60, 20.0)
    mask, box = edges(lambda x: torch.full_like(x[:, 3], -1.0)).draw(IMAGE, [outline])[0]
    assert box == outline.box
    assert (mask == outline.mask).all()


def test_a_box_beside_the_frame_leaves_the_mask_as_it_was() -> None:
    outline = replace(disc(80, 60, 20.0), given=(400.0, 300.0, 420.0, 330.0))
    mask, box = edges().draw(IMAGE, [outline, disc(30, 30, 9.0)])[0]
    assert box == outline.box
    assert (mask == outline.mask).all()


def test_a_pixel_belongs_to_the_surest() -> None:
    both = [disc(60, 60, 15.0), disc(75, 60, 15.0)]

    def surer_second(x: Tensor) -> Tensor:
        return x[:, 3] * torch.tensor([1.0, 3.0])[:, None, None]

    masks = [painted(*found) for found in edges(surer_second).draw(IMAGE, both)]
    whole = painted(both[1].mask, both[1].box)
    assert not (masks[0] & masks[1]).any()
    assert iou(masks[1], whole) > 0.95
    shared = edges(surer_second, apart=False).draw(IMAGE, both)
    assert (painted(*shared[0]) & painted(*shared[1])).any()


def test_one_piece_stays() -> None:
    outline = disc(80, 60, 20.0)

    def split(x: Tensor) -> Tensor:
        out = torch.full_like(x[:, 3], -1.0)
        out[:, 20:40, 20:40] = 1.0
        out[:, 50:54, 50:54] = 1.0
        return out

    mask, box = edges(split).draw(IMAGE, [outline])[0]
    assert mask.all()
    assert max(box[2] - box[0], box[3] - box[1]) < 30
    assert edges(split, one_piece=False).draw(IMAGE, [outline])[0][1][2] > box[2] + 10


def test_nothing_gives_nothing() -> None:
    assert edges().draw(IMAGE, []) == []


def test_windows_are_squares_around_boxes() -> None:
    boxes = torch.tensor([[10.0, 20.0, 30.0, 26.0], [5.0, 5.0, 7.0, 7.0]])
    assert windows_of(boxes).tolist() == [[0.0, 3.0, 40.0, 43.0], [0.0, 0.0, 12.0, 12.0]]


def test_what_lies_beyond_the_image_looks_like_its_border() -> None:
    image = torch.arange(8.0)[None, None, :].expand(1, 8, 8).contiguous()
    seen = look(image, torch.tensor([[-64.0, -64.0, 0.0, 0.0]]))
    assert (seen == 0).all()
    seen = look(image + 1, torch.tensor([[-64.0, -64.0, 0.0, 0.0]]), "zeros")
    assert float(seen[0, 0, :, :-1].max()) == 0.0


def test_no_box_draws_nothing() -> None:
    windows = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    assert not rectangles(torch.full((1, 4), torch.nan), windows).any()
    half = rectangles(torch.tensor([[0.5, 0.0, 2.0, 1.0]]), windows)[0]
    assert half[0, :3].tolist() == [0.5, 1.0, 0.0]
    assert float(half.sum()) == 1.5


def test_a_click_is_drawn_where_it_is() -> None:
    windows = torch.tensor([[10.0, 20.0, 42.0, 52.0], [0.0, 0.0, 64.0, 64.0]])
    drawn = dots(torch.tensor([[15.25, 40.25], [torch.nan, torch.nan]]), windows)
    assert (drawn[0].argmax() // SIDE_PX, drawn[0].argmax() % SIDE_PX) == (40, 10)
    assert float(drawn[0].max()) == pytest.approx(1.0)
    assert not drawn[1].any()


def test_a_second_round_looks_around_what_the_first_one_drew() -> None:
    seen = []

    def wider(x: Tensor) -> Tensor:
        seen.append(float((x[0, 3] > 0).float().mean()))
        return F.max_pool2d(x[:, 3:4], 9, stride=1, padding=4)[:, 0]

    outline = disc(80, 60, 10.0)
    once = edges(wider).draw(IMAGE, [outline])[0]
    drawing, thrice = edges(wider), (outline.mask, outline.box)
    for _ in range(3):
        (thrice,), _ = drawing.draw_alone(IMAGE, [Outline(*thrice)])
    assert thrice[0].sum() > once[0].sum() > outline.mask.sum()
    assert seen[1:] == pytest.approx([seen[1]] * 3, rel=0.3)  # each time as large in its window


def test_a_wider_view_is_shown_too() -> None:
    """What lies beyond the window is seen there, where it is."""
    image = IMAGE.copy()
    image[50:70, 120:140] = 255
    drawing = edges()
    outline = disc(80, 60, 16.0)  # its window ends at 112, the wider view at 160
    drawing.draw(image, [outline])
    (wider,) = drawing._refiner.wider
    assert wider.shape == (1, WIDER_CHANNELS, WIDER_PX, WIDER_PX)
    bright = wider[0, :3].mean(dim=0) > wider[0, :3].mean()
    columns = bright.any(dim=0).nonzero()[:, 0] + 0.5
    at = 80 + (columns / WIDER_PX - 0.5) * 64 * WIDER
    assert 118 < float(at.min()) < 126
    assert 134 < float(at.max()) < 142


def test_how_bright_a_picture_is_can_be_seen_in_the_wider_view_alone() -> None:
    """The window has the same contrast in any light; what lies around says what the light was."""
    image = np.random.default_rng(0).integers(40, 120, IMAGE.shape).astype(np.uint8)
    drawing = edges()
    seen = []
    for light in (image, image * 2):
        drawing.draw(light, [disc(80, 60, 16.0)])
        seen.append(drawing._refiner.wider[-1][0])
    dim, bright = seen
    torch.testing.assert_close(dim[:3], bright[:3], atol=1e-4, rtol=0.0)
    twice = (bright[3:] - dim[3:]) * 4  # in steps of two to one; the one is added to 40 or more
    assert 0.95 < float(twice.min()) < float(twice.max()) < 1.0


def test_exposures_go_from_minus_one_to_one() -> None:
    colours = torch.tensor([0.0, 15 / 255, 1.0])
    torch.testing.assert_close(exposure(colours), torch.tensor([-1.0, 0.0, 1.0]), atol=2e-6, rtol=0)


def test_a_wider_view_has_the_same_middle() -> None:
    windows = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    reach = 10 * WIDER
    assert around(windows).tolist() == [[20 - reach, 30 - reach, 20 + reach, 30 + reach]]


@pytest.mark.parametrize("sides", [1, 2, 4, 8])
def test_from_several_sides_each_is_brought_back(sides: int) -> None:
    """A network that draws what it sees gives the same from all sides, in a lopsided window."""
    bent = np.zeros((30, 25), bool)
    bent[:, :6] = bent[24:] = True
    outline = Outline(bent, (70, 30, 95, 60))
    (alone,), _ = edges().draw_alone(IMAGE, [outline], sides=sides)
    for mask, box in (*edges().draw(IMAGE, [outline], sides=sides), alone):
        assert iou(painted(mask, box), painted(bent, outline.box)) > 0.9


def test_of_several_sides_the_mean_is_drawn_and_judged() -> None:
    """A network that knows nothing but its own left draws all of a half, seen from two sides."""

    def left(x: Tensor) -> Tensor:
        return torch.where(torch.arange(SIDE_PX) < SIDE_PX // 2, 1.0, -2.0).expand_as(x[:, 3])

    outline = disc(80, 60, 20.0)
    (one,), (sure,) = edges(left).draw_alone(IMAGE, [outline])
    (two,), (less,) = edges(left).draw_alone(IMAGE, [outline], sides=2)
    area, corner = painted(*one), painted(*two)
    assert not (corner & ~area).any()
    assert corner.sum() == pytest.approx(area.sum() / 2, rel=0.05)
    assert sure == pytest.approx(less)


@pytest.mark.parametrize("sides", [-1, 0, 9])
def test_a_square_is_seen_from_one_to_eight_sides(sides: int) -> None:
    with pytest.raises(ValueError, match=f"no {sides} sides to be seen from; give 1 to 8"):
        edges().draw(IMAGE, [disc(80, 60, 20.0)], sides=sides)


def test_many_windows_are_seen_in_parts() -> None:
    outlines = [disc(20 + n % 100, 60, 6.0 + n % 3) for n in range(AT_ONCE + 3)]
    found, sure = edges().draw_alone(IMAGE, outlines)
    assert len(found) == len(sure) == len(outlines)
    for (mask, box), outline in zip(found, outlines, strict=True):
        assert iou(painted(mask, box), painted(outline.mask, outline.box)) > 0.9


def test_it_says_how_good_it_takes_its_drawing_to_be() -> None:
    def half(x: Tensor) -> Tensor:
        return torch.where(torch.arange(SIDE_PX) < SIDE_PX // 2, 1.0, -1.0).expand_as(x[:, 3])

    _, (sure,) = edges(half).draw_alone(IMAGE, [disc(80, 60, 20.0)])
    assert sure == pytest.approx(1 / (1 + np.exp(-0.5)))
    _, (sure,) = edges(lambda x: torch.full_like(x[:, 3], -1.0)).draw_alone(
        IMAGE, [disc(80, 60, 20.0)]
    )
    assert sure == 0.0


def test_a_file_is_read_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    refiner = Refiner((4, 8, 8, 8)).eval()
    path = tmp_path / "maskcast_refiner.safetensors"
    save_file(refiner.state_dict(), path)
    x, wider = (
        torch.randn(2, CHANNELS, SIDE_PX, SIDE_PX),
        torch.randn(2, WIDER_CHANNELS, WIDER_PX, WIDER_PX),
    )
    with torch.inference_mode():
        own = refiner(x, wider)
        for mine, other in zip(load_refiner(path)(x, wider), own, strict=True):
            assert torch.equal(mine, other)
        save_file(packed(refiner.state_dict()), path)
        for mine, other in zip(load_refiner(path)(x, wider), own, strict=True):
            torch.testing.assert_close(mine, other, atol=0.02 * float(other.abs().max()), rtol=0.0)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="not the weights of a refiner"):
        load_refiner(path)
    earlier = {n: w for n, w in refiner.state_dict().items() if not n.startswith("deepest.one")}
    save_file(earlier, path)
    with pytest.raises(ModelError, match=r"Missing key\(s\) in state_dict: \"deepest.one.weight\""):
        load_refiner(path)


def test_it_lies_beside_weights_or_in_the_package(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = Refiner((4, 8, 8, 8)).state_dict()
    for folder, name, weights in (
        ("trained", "maskcast_refiner.safetensors", "trained"),
        ("named", "own_refiner.safetensors", "named/own_sam2.safetensors"),
    ):
        (tmp_path / folder).mkdir()
        save_file(state, tmp_path / folder / name)
        assert widths(load_edges("sam2.1-tiny", str(tmp_path / weights))) == 4
    assert refiner_path("micro") is not None
    assert widths(load_edges("micro")) == 16
    # Weights of one's own have it only where it is asked for.
    assert refiner_path("micro", "random:3") is None
    assert widths(load_edges("micro", "random:3")) == 16


def widths(loaded: Edges) -> int:
    return loaded._refiner.stem.out_channels


def test_a_model_without_one_says_so() -> None:
    with pytest.raises(ModelError, match=r"refine: sam2\.1-tiny has no network .* accepted are"):
        load_edges("sam2.1-tiny", "random:0")


def test_what_is_kept_is_taken_leniently_and_what_is_drawn_on_is_not() -> None:
    """A pixel somewhat likelier out than in is part of the mask in the end, one surely out not."""

    def ring(x: Tensor) -> Tensor:
        mask = x[:, 3:4]
        wide = F.max_pool2d(mask, 9, stride=1, padding=4)
        wider = F.max_pool2d(mask, 17, stride=1, padding=8)
        near = torch.where(wide > 0, -0.5 * LENIENCE, torch.where(wider > 0, -1.5 * LENIENCE, -3.0))
        return torch.where(mask > 0, 3.0, near)[:, 0]

    outline = disc(80, 60, 16.0)
    kept = edges(ring).draw(IMAGE, [outline])[0][0]
    (drawn,), _ = edges(ring).draw_alone(IMAGE, [outline])
    cell = 64 / SIDE_PX
    assert kept.sum() == pytest.approx(math.pi * (16.0 + 4 * cell) ** 2, rel=0.12)
    assert drawn[0].sum() == pytest.approx(math.pi * 16.0**2, rel=0.12)
