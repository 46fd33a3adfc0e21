"""The detector with a refiner: crops and answers follow the finer edges, the rest stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from engines import verification
from engines.crops import mask_crops
from engines.detection import Found
from engines.detector import DetectorSettings, TextDetector
from engines.edges import Edges, Outline, Placed, whole
from engines.registry import load_clip, load_edges, load_tracker
from engines.texts import text_bank
from engines.verification import MICRO_CROPS
from stream.synth import CellFilm, CellFilmSpec

SETTINGS = DetectorSettings(one_piece=True, verify="crop", crops=MICRO_CROPS, sweep_grid=16)


class Row(Edges):
    """Draws so many small rectangles in a row, over and over."""

    def __init__(self, different: int = 100) -> None:
        self.asked = 0
        self.different = different

    def draw_alone(
        self, image: np.ndarray, outlines: Sequence[Outline], *, sides: int = 1
    ) -> tuple[list[Placed], list[float]]:
        self.asked += len(outlines)
        drawn = [self.place(number % self.different) for number in range(len(outlines))]
        return drawn, [1.0] * len(drawn)

    @staticmethod
    def place(number: int) -> Placed:
        x = 30 + 20 * (number % 25)
        y = 40 + 20 * (number // 25)
        return np.ones((9, 12), np.bool_), (x, y, x + 12, y + 9)


def look(
    edges: Edges | None, settings: DetectorSettings = SETTINGS
) -> tuple[list[Found], np.ndarray]:
    tracker, clip = load_tracker("micro"), load_clip("micro").model
    film = CellFilm(CellFilmSpec(seed=3, objects=8))
    film.skip(20)
    drawn = film.frame()
    image = drawn.image.astype(np.uint8, copy=False)
    detector = TextDetector(
        tracker.model, clip, text_bank(clip, "micro"), settings, rendered_prompts=True, edges=edges
    )
    return detector.detect(image, tracker.encode(image), ["cell"]), drawn.ids


def best_iou(found: Found, ids: np.ndarray) -> float:
    rows, columns = (
        ((np.arange(side) + 0.5) * whole / side).astype(int)
        for side, whole in zip(found.mask.shape, ids.shape, strict=True)
    )
    small = ids[np.ix_(rows, columns)]
    values, shared = np.unique(small[found.mask], return_counts=True)
    inside = [(n, i) for n, i in zip(shared, values, strict=True) if i]
    if not inside:
        return 0.0
    most, object_id = max(inside)
    return float(most / ((small == object_id) | found.mask).sum())


EVERYTHING = replace(SETTINGS, min_score=0.0, min_probability=0.0)


def test_answers_are_what_was_drawn() -> None:
    edges = Row()
    found, ids = look(edges, EVERYTHING)
    assert edges.asked == len(found) > 5
    drawn = {edges.place(number)[1] for number in range(edges.asked)}
    assert {tuple(map(int, one.box)) for one in found} == drawn
    for one in found:
        rows, columns = np.nonzero(one.mask)
        x0, y0, x1, y1 = one.box
        assert abs((columns.min() + columns.max() + 1) / 512 * ids.shape[1] - (x0 + x1) / 2) < 1.5
        assert abs((rows.min() + rows.max() + 1) / 512 * ids.shape[0] - (y0 + y1) / 2) < 1.5


def test_what_becomes_the_same_is_answered_once() -> None:
    edges = Row(different=3)
    found, _ = look(edges, EVERYTHING)
    assert edges.asked > 5
    assert len(found) == 3


def test_crops_are_cut_by_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[torch.Tensor] = []

    def note(image: np.ndarray, masks: torch.Tensor, *how: Any) -> torch.Tensor:
        cut.extend(masks)
        return mask_crops(image, masks, *how)

    monkeypatch.setattr(verification, "mask_crops", note)
    edges = Row()
    look(edges, EVERYTHING)
    assert len(cut) == min(edges.asked, MICRO_CROPS.most)
    there = [whole(edges.place(number), (480, 640)) for number in range(edges.asked)]
    for mask in cut:
        assert any(torch.equal(mask, one) for one in there)


def test_the_packaged_refiner_brings_cells_nearer_to_their_truth() -> None:
    plain, ids = look(None)
    finer, _ = look(load_edges("micro", precision="fp32"))
    before, after = (np.mean([best_iou(one, ids) for one in found]) for found in (plain, finer))
    assert len(finer) >= len(plain) - 1
    assert after > before + 0.02
    assert after > 0.9


def test_a_mask_lies_in_the_frame_where_it_was_placed() -> None:
    mask = whole((np.ones((2, 3), np.bool_), (4, 1, 7, 3)), (5, 9))
    assert torch.nonzero(mask).tolist() == [[r, c] for r in (1, 2) for c in (4, 5, 6)]
