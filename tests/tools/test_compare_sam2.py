"""The comparison with the official predictor: what it measures, shows and refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from tests.support.tools import load

load("held")
load("compare_engines")
sides = load("compare_sides")
measure = load("compare_measure")
compare = load("compare_sam2")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The tool sets the number of threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Fake:
    """A side that takes a known time and gives known logits."""

    shift = 0.0
    spend_s = 0.001

    def __init__(self, model: Any, plan: Any, film: Sequence[np.ndarray]) -> None:
        self.film = film
        self.shown = 0

    def prompt(self, prompts: Sequence[Any]) -> None:
        self.objects = len(prompts)

    def encode(self, index: int) -> None:
        self.shown = index
        time.sleep(self.spend_s)

    def track(self, index: int) -> list[np.ndarray]:
        assert index in (0, self.shown), "frames are encoded before they are tracked"
        time.sleep(2 * self.spend_s)
        logits = np.full((8, 8), -1.0, np.float32)
        logits[:4] = 5.0 + self.shift + 0.1 * (torch.get_num_threads() - 2)
        return [logits] * self.objects


class SlowFake(Fake):
    shift = 0.25
    spend_s = 0.004


PLAN = sides.Plan(image_size=64, frames=12)


def fake_race(monkeypatch: pytest.MonkeyPatch, floor: bool = False) -> Any:
    monkeypatch.setattr(measure, "SIDES", {"official": SlowFake, "maskcast": Fake})
    torch.set_num_threads(PLAN.threads)
    return measure.race(PLAN, None, 2, lambda: None, floor)


def test_a_race_tells_time_and_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    row = fake_race(monkeypatch)
    assert row.official.encode_ms == pytest.approx(4, abs=2)
    assert row.official.track_ms == pytest.approx(8, abs=3)
    assert 2 < row.times_faster < 5, "four times the sleep"
    assert row.times_less_work < row.times_faster, "sleeping is no work"
    assert row.masks.largest_logit_difference == pytest.approx(0.25)
    assert row.masks.largest_logit == pytest.approx(5.25)
    assert row.masks.floor is None


def test_a_slow_stretch_of_the_machine_drops_out() -> None:
    assert measure._ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == 2.0
    assert measure._ratio([2.0, 20.0, 20.0, 2.2], [1.0, 10.0, 1.0, 1.1]) == 2.0


def test_the_floor_is_the_official_one_against_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    row = fake_race(monkeypatch, floor=True)
    assert row.masks.floor == pytest.approx(0.1), "one thread instead of two"
    assert torch.get_num_threads() == PLAN.threads


def test_agreement_keeps_the_worst_object() -> None:
    full, half = np.full((4, 4), 1.0, np.float32), np.full((4, 4), 1.0, np.float32)
    half[2:] = -3.0
    masks = measure.Agreement()
    masks.add([half, full], [half, half])
    masks.add([-full], [-full])
    assert masks.largest_logit_difference == 4.0
    assert masks.smallest_iou == 0.5
    assert (masks.smallest_share, masks.largest_share) == (0.0, 1.0)


def test_two_empty_masks_agree() -> None:
    masks = measure.Agreement()
    masks.add([np.full((2, 2), -1.0)], [np.full((2, 2), -2.0)])
    assert masks.smallest_iou == 1.0


@pytest.mark.parametrize("kind", sides.PROMPTS)
def test_prompts_mean_the_region(kind: str) -> None:
    region = np.zeros((20, 30), bool)
    region[3:9, 5:25] = True
    region[3:9, 14:16] = False
    prompt = sides.make_prompt(region, kind)
    if kind == "mask":
        assert prompt.mask is region
    elif kind == "box":
        assert prompt.box == (5.0, 3.0, 25.0, 9.0)
    else:
        ((x, y),) = prompt.points
        assert region[int(y), int(x)]
        assert prompt.labels == [1]


def test_the_drawn_film_has_a_region_for_each_object() -> None:
    film, regions = sides.load_film(replace(PLAN, image_size=128, frames=2), 5)
    assert [image.shape for image in film] == [(128, 128, 3)] * 2
    assert len(regions) == 5
    assert all(region.any() for region in regions)
    assert not (regions[0] & regions[1]).any()


def test_pictures_become_square(tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray(np.full((40, 60), 50 * index, np.uint8)).save(tmp_path / f"{index}.png")
    film, regions = sides.load_film(replace(PLAN, frames=3, source=str(tmp_path)), 5)
    assert [image.shape for image in film] == [(64, 64, 3)] * 3
    assert [int(image.max()) for image in film] == [0, 50, 100]
    assert len(regions) == 5
    assert sum(region.astype(int) for region in regions).max() == 1, "boxes do not overlap"


def shown(table: Any) -> str:
    console = Console(width=140)
    with console.capture() as text:
        console.print(table)
    return text.get()


def test_the_table_shows_what_was_measured() -> None:
    masks = measure.Agreement(largest_logit_difference=2e-3, smallest_iou=0.987)
    official = measure.Figures(100.0, 60.0, 40.0, peak_mib=80.0, growth_mib=1.25)
    ours = measure.Figures(50.0, 30.0, 20.0)
    text = shown(compare.table_of([measure.Row(8, official, ours, 2.0, 1.9, masks)]))
    for part in (
        "8",
        "100 (60 + 40)",
        "50 (30 + 20)",
        "2.00 (1.90)",
        "80 (+1.25)",
        "2.0e-03",
        "1.0000 (0.987)",
    ):
        assert part in text
    assert "│            - │" in text, "what was not measured is no number"


def test_growth_is_from_the_fewest_to_the_most_objects() -> None:
    def row(objects: int, official_ms: float, ours_ms: float) -> Any:
        figures = (measure.Figures(ms, 0.0, ms) for ms in (official_ms, ours_ms))
        return measure.Row(objects, *figures, 1.0, 1.0, measure.Agreement())

    found = measure.growth([row(4, 40.0, 20.0), row(16, 120.0, 30.0), row(1, 12.0, 15.0)])
    assert found == {"few": 1, "many": 16, "official": 10.0, "maskcast": 2.0}
    assert compare.growth_lines(found) == ["time(16) / time(1): official 10.00, maskcast 2.00"]
    assert compare.growth_lines(measure.growth([row(4, 1.0, 1.0)])) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "openvino"}, "--backend openvino: with --device cuda it is torch only"),
        ({"floor": True}, "--floor: it counts threads"),
    ],
)
def test_what_a_card_cannot_measure_is_refused(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = load("compare_engines")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    usual = {"backend": "torch", "vos_optimized": True, "floor": False}
    engines.check_card("cuda", **usual)
    with pytest.raises(sides.UsageError, match=message):
        engines.check_card("cuda", **(usual | options))


def test_the_matrix_has_a_row_for_each_model() -> None:
    cells = [
        {"model": model, "image_size": size, "largest_logit_difference": size * 1e-6, "floor": None}
        for model in compare.CONFIGS
        for size in measure.SIZES_PX
    ]
    lines = [
        line for line in shown(compare.matrix_table_of(cells)).splitlines() if "sam2.1" in line
    ]
    assert len(lines) == 4
    assert all("2.6e-04" in line and "1.0e-03" in line for line in lines)


def test_notes_own_up_to_random_weights_and_empty_masks() -> None:
    empty = measure.Agreement(smallest_share=0.0, largest_share=0.0)
    text = " ".join(compare.notes(PLAN, [empty]))
    assert "bias of the object score is raised to 3" in text
    assert "empty or full" in text
    fine = measure.Agreement(smallest_share=0.1, largest_share=0.4)
    text = " ".join(compare.notes(replace(PLAN, weights="tiny.pt"), [fine]))
    assert "random" not in text
    assert "empty or full" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objects", "1,x"], "--objects '1,x': accepted are whole numbers from 1"),
        (["--objects", "0"], "--objects '0': accepted are whole numbers from 1"),
        (["--frames", "5"], "--frames 5: at least 10 are needed"),
        (["--frames", "many"], "'--frames': Input should be a valid integer"),
        (["--model", "micro"], "--model 'micro' is unknown; accepted are sam2.1-tiny"),
        (["--precision", "fp8"], "--precision 'fp8' is unknown; accepted are fp32, bf16"),
        (["--image-size", "100"], "image_size 100 is not usable; accepted are positive multiples"),
        (["--weights", "none.pt"], "none.pt: no such weights file"),
        (["--matrix", "--weights", "tiny.pt"], "--matrix needs random:SEED"),
        (["--source", "nowhere", "--image-size", "64"], "nowhere: matches no file"),
        (["--json", "no/such/x.json"], "there is no directory no/such"),
        (["--vos-optimized"], "--vos-optimized: the compiled predictor needs --device cuda"),
        (["--device", "cude"], "device 'cude' is unknown; accepted are cpu, cuda"),
        (["--bogus"], "No such option: --bogus"),
    ],
)
def test_bad_arguments_end_with_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("compare_sam2: ")
    assert message in lines[0]


def test_pictures_that_do_not_do_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "0.png")
    with pytest.raises(sides.UsageError, match=r"0\.png: pixels are uint16; accepted is uint8"):
        sides.load_film(replace(PLAN, frames=1, source=str(tmp_path)), 1)
    with pytest.raises(sides.UsageError, match="holds 1 pictures, --frames is 12"):
        sides.load_film(replace(PLAN, source=str(tmp_path)), 1)


def test_the_two_agree_on_a_small_film(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--image-size", "64", "--objects", "2", "--frames", "10", "--no-memory"]
    assert compare.main([*arguments, "--json", str(file)]) == 0
    data = json.loads(file.read_text())
    assert data["plan"] == asdict(sides.Plan(image_size=64, frames=10))
    (row,) = data["rows"]
    assert row["objects"] == 2
    masks = row["masks"]
    assert masks["largest_logit_difference"] < 0.01 * masks["largest_logit"]
    assert masks["smallest_iou"] > 0.98
    assert 0.0 < masks["smallest_share"] <= masks["largest_share"] < 1.0, "must not be trivial"
    assert row["maskcast"]["peak_mib"] is None
    assert row["official"]["frame_ms"] > 0


@pytest.mark.slow
def test_only_the_official_state_grows() -> None:
    plan = sides.Plan(image_size=64, frames=20)
    peak, growth = measure.measure_memory(plan, 2, "official")
    assert peak > 1
    assert growth > 0, "it keeps the outputs of every frame"
    peak, growth = measure.measure_memory(plan, 2, "maskcast")
    assert peak > 1
    assert growth == 0


def test_a_side_that_fails_alone_is_reported() -> None:
    plan = sides.Plan(weights="none.pt", image_size=64)
    with pytest.raises(measure.MaskcastError, match=r"official with 1 objects alone ended: .*none"):
        measure.measure_memory(plan, 1, "official")
