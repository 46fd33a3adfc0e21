"""What the judge is shown of a mask: inside, along the edge, and just outside."""

from __future__ import annotations

import torch

from engines.judge import BAND_CELLS, Judge, _bands, _grown, _pooled, _shape


def square(side: int = 32, low: int = 10, high: int = 22) -> torch.Tensor:
    mask = torch.zeros(1, 1, side, side)
    mask[..., low:high, low:high] = 1.0
    return mask


def test_bands_lie_to_either_side_of_the_edge() -> None:
    mask, inner, outer = _bands(square())[0]
    assert mask.sum() == 12**2
    assert inner.sum() == 12**2 - (12 - 2 * BAND_CELLS) ** 2
    assert outer.sum() == (12 + 2 * BAND_CELLS) ** 2 - 12**2
    assert (inner * outer).sum() == 0
    assert (inner <= mask).all()


def test_growing_is_the_highest_value_around_each_cell() -> None:
    mask = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    side = 2 * BAND_CELLS + 1
    pooled = torch.nn.functional.max_pool2d(mask, side, stride=1, padding=BAND_CELLS)
    assert torch.equal(_grown(mask), pooled)


def test_features_are_pooled_under_each_band() -> None:
    seen = torch.cat([square(), 5 * (1 - square())], dim=1)
    inside, inner, outer = _pooled(seen, _bands(square())).reshape(3, 2)
    assert torch.allclose(inside, torch.tensor([1.0, 0.0]))
    assert torch.allclose(inner, torch.tensor([1.0, 0.0]))
    assert torch.allclose(outer, torch.tensor([0.0, 5.0]))


def test_a_longer_edge_for_the_same_area_shows() -> None:
    rows = torch.zeros(1, 1, 32, 32)
    rows[..., 4:28:4, 4:28] = 1.0
    ragged, smooth = _shape(rows)[0], _shape(square())[0]
    assert ragged[0] == smooth[0]
    assert ragged[2] > 1.5 * smooth[2]


def test_it_learns_whether_a_mask_ends_where_the_object_does() -> None:
    torch.manual_seed(0)
    judge = Judge([1, 2])
    sizes = torch.arange(6, 27, 4).tolist()
    masks = torch.cat([square(32, 16 - s // 2, 16 + s // 2) for s in sizes])
    fine = square(32, 16 - 7, 16 + 7).expand(len(sizes), -1, -1, -1)
    features = [fine, torch.nn.functional.avg_pool2d(fine, 2).repeat(1, 2, 1, 1)]
    logits = ((masks[:, 0] - 0.5) * 20).requires_grad_()
    both, either = torch.minimum(masks, fine), torch.maximum(masks, fine)
    truth = both.sum(dim=(1, 2, 3)) / either.sum(dim=(1, 2, 3))
    optimizer = torch.optim.Adam(judge.parameters(), 0.01)
    for _ in range(200):
        told = judge(features, logits)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(told, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (judge(features, logits).sigmoid() - truth).abs().max() < 0.05
    assert logits.grad is None, "a judge that moved the drawing could please itself"


def test_of_an_empty_mask_it_says_something_finite() -> None:
    judge = Judge([1, 2])
    features = [torch.rand(1, 1, 32, 32), torch.rand(1, 2, 16, 16)]
    assert judge(features, torch.full((1, 32, 32), -100.0)).isfinite().all()
