"""Where things are: the finder's shapes, its maxima, its boxes, and the files that it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engines.checkpoint import sha256
from engines.errors import ModelError
from engines.features import Features
from engines.finder import (
    FINDER_FILE,
    MADE_FOR,
    STRIDE_PX,
    Finder,
    find_spots,
    finder_beside,
    load_finder,
    spots_of,
)


def maps(batch: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return (
        torch.randn(batch, 16, 4, 4),
        torch.randn(batch, 8, 8, 8),
        torch.randn(batch, 4, 16, 16),
    )


def test_it_tells_every_cell_of_the_finest_map() -> None:
    finder = Finder(4, 8, 16, 8).eval()
    centres, sides = finder(*maps(2))
    assert centres.shape == (2, 16, 16)
    assert sides.shape == (2, 4, 16, 16)
    assert (sides > 0).all()
    assert float(centres.detach().sigmoid().mean()) < 0.05, "centres are rare before any training"


def test_a_frame_at_a_time_is_the_same_as_many() -> None:
    finder = Finder(4, 8, 16, 8).eval()
    top, half, quarter = maps(2)
    both = finder(top, half, quarter)
    one = finder(top[1:], half[1:], quarter[1:])
    assert torch.allclose(both[0][1:], one[0], atol=1e-5)


def test_spots_are_maxima_highest_first_with_their_boxes() -> None:
    heat = torch.zeros(8, 16)
    heat[2, 3], heat[2, 4], heat[6, 12], heat[0, 0] = 0.7, 0.6, 0.9, 0.2
    sides = torch.full((4, 8, 16), 6.0)
    sides[0, 6, 12] = 10.0
    spots = spots_of(heat, sides, threshold=0.3, most=10)
    assert spots.scores.tolist() == pytest.approx([0.9, 0.7])
    assert spots.points.tolist() == [[12.5 / 16, 6.5 / 8], [3.5 / 16, 2.5 / 8]]
    # 4 px a cell: 10 px to the left are 2.5 of 16 columns.
    x, y = 12.5 / 16, 6.5 / 8
    side = 6 / STRIDE_PX
    expected = [x - 2.5 / 16, y - side / 8, x + side / 16, y + side / 8]
    assert spots.boxes[0].tolist() == pytest.approx(expected)
    assert len(spots_of(heat, sides, threshold=0.1, most=2)) == 2
    assert len(spots_of(heat, sides, threshold=0.95, most=2)) == 0


def test_boxes_end_where_the_frame_does() -> None:
    heat = torch.zeros(4, 4)
    heat[0, 0] = 1.0
    spots = spots_of(heat, torch.full((4, 4, 4), 100.0), threshold=0.5, most=1)
    assert spots.boxes.tolist() == [[0.0, 0.0, 1.0, 1.0]]


def test_spots_of_a_frame() -> None:
    finder = Finder(4, 8, 16, 8).eval()
    top, half, quarter = maps()
    spots = find_spots(finder, Features(top, half, quarter, (60, 80)), threshold=0.0, most=5)
    assert len(spots) == 5
    assert (spots.scores[:-1] >= spots.scores[1:]).all()


def test_saved_and_loaded(tmp_path: Path) -> None:
    finder = Finder(4, 8, 16, 8).eval()
    path = tmp_path / "finder.safetensors"
    save_file(finder.state_dict(), path)
    again = load_finder(path)
    assert torch.equal(again(*maps())[0], finder(*maps())[0])


@pytest.mark.parametrize(
    "state",
    [
        {"fine.weight": torch.zeros(8, 4, 1, 1)},
        Finder(4, 8, 16, 8).state_dict() | {"more": torch.zeros(1)},
        {},
    ],
)
def test_other_files_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "finder.safetensors"
    save_file(state, path)
    with pytest.raises(ModelError, match=r"not the weights of a finder .*; give what maskcast"):
        load_finder(path)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "finder.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(ModelError, match="not the weights of a finder"):
        load_finder(path)


def test_the_finder_beside_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "x_sam2.safetensors"
    weights.write_bytes(b"weights")
    assert finder_beside(str(weights)) is None
    finder = Finder(4, 8, 16, 8)
    path = tmp_path / "x_finder.safetensors"
    save_file(finder.state_dict(), path)
    assert finder_beside(str(weights)) is not None
    save_file(finder.state_dict(), path, metadata={MADE_FOR: sha256(weights)})
    assert finder_beside(str(weights)) is not None
    save_file(finder.state_dict(), path, metadata={MADE_FOR: "0" * 64})
    with pytest.raises(ModelError, match="made for other weights than x_sam2"):
        finder_beside(str(weights))
    path.write_bytes(b"no")
    with pytest.raises(ModelError, match="not the weights of a finder"):
        finder_beside(str(weights))
    assert finder_beside("random:3") is None
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"weights")
    assert finder_beside(str(other)) is None
    save_file(finder.state_dict(), tmp_path / FINDER_FILE)
    assert finder_beside(str(other)) is not None


def test_the_packaged_finder_is_never_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.finder.PACKAGE", tmp_path)
    weights = tmp_path / "micro_sam2.safetensors"
    weights.write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"micro_finder.safetensors: .* is missing; reinstall"):
        finder_beside(str(weights))
