"""The whole detector with the packaged models: things shown, embeddings described, searches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engines.calibration import calibration
from engines.detection import DetectorSettings, Found
from engines.detector import Shown, TextDetector
from engines.errors import ModelError
from engines.exemplars import ExemplarBook
from engines.features import Features
from engines.registry import load_clip, load_tracker
from engines.scoring import final_score
from engines.texts import text_bank
from stream.synth import CellFilm, CellFilmSpec

# As live, but that a drawn disc needs no good mask, and no grid of clicks to be hit.
SETTINGS = DetectorSettings(
    one_piece=True,
    min_quality=0.4,
    min_score=0.3,
    calibration=calibration("micro", "micro"),
)
SWEPT = replace(SETTINGS, sweep_grid=8)
RED, BLUE = (215, 40, 38), (40, 78, 215)
REDS = ((130, 110), (480, 130), (330, 360))
BLUES = ((320, 130), (140, 350), (520, 370))
RADIUS = 46


class Bench:
    """The packaged models, discs of two colours and a frame of cells."""

    def __init__(self) -> None:
        self.tracker = load_tracker("micro")
        self.clip = load_clip("micro").model
        self.discs = np.full((480, 640, 3), 118, dtype=np.uint8)
        down, across = np.mgrid[:480, :640]
        for places, colour in ((REDS, RED), (BLUES, BLUE)):
            for x, y in places:
                self.discs[(across - x) ** 2 + (down - y) ** 2 <= RADIUS**2] = colour
        self.discs_features: Features = self.tracker.encode(self.discs)
        film = CellFilm(CellFilmSpec(seed=3, objects=8))
        film.skip(20)
        drawn = film.frame()
        self.cells: np.ndarray = drawn.image.astype(np.uint8, copy=False)
        self.ids: np.ndarray = drawn.ids
        self.cells_features: Features = self.tracker.encode(self.cells)

    def detector(self, settings: DetectorSettings = SETTINGS) -> TextDetector:
        bank = text_bank(self.clip, "micro")
        return TextDetector(self.tracker.model, self.clip, bank, settings, rendered_prompts=True)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def around(place: tuple[int, int]) -> tuple[float, float, float, float]:
    x, y = place
    return (float(x - RADIUS), float(y - RADIUS), float(x + RADIUS), float(y + RADIUS))


def hit(found: list[Found], places: tuple[tuple[int, int], ...]) -> int:
    """How many of the discs lie under the middle of a detection."""
    middles = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in (item.box for item in found)]
    return sum(any(np.hypot(x - u, y - v) < RADIUS / 2 for u, v in middles) for x, y in places)


@pytest.mark.parametrize(("places", "others"), [(REDS, BLUES), (BLUES, REDS)])
def test_the_same_look_is_found_and_another_is_not(
    bench: Bench, places: tuple[tuple[int, int], ...], others: tuple[tuple[int, int], ...]
) -> None:
    detector = bench.detector()
    look = detector.look(
        bench.discs, bench.discs_features, (), exemplars=["this"],
        shown=[Shown("this", around(places[0]))],
    )  # fmt: skip
    assert look.refused == {}
    assert {item.label for item in look.found} == {"this"}
    assert hit(look.found, places) == 3
    assert hit(look.found, others) == 0
    for item in look.found:
        assert item.evidence is not None
        assert item.evidence.exemplars["this"] > 0.5
        assert item.evidence.own == {}


def test_one_cell_shown_finds_the_others_and_stays_known(bench: Bench) -> None:
    detector = bench.detector(SWEPT)
    rows, cols = np.nonzero(bench.ids == np.unique(bench.ids)[1])
    box = (float(cols.min()), float(rows.min()), float(cols.max() + 1), float(rows.max() + 1))
    first = detector.look(bench.cells, bench.cells_features, (), shown=[Shown("it", box)])
    assert first.found == []
    assert first.refused == {}
    later = detector.look(bench.cells, bench.cells_features, (), exemplars=["it"])
    height, width = bench.ids.shape
    there = {
        int(bench.ids[min(int(y), height - 1), min(int(x), width - 1)])
        for x, y in (item.point for item in later.found)
    } - {0}
    assert len(there) >= 6
    heat = detector.heatmap(bench.cells, ["cell"], exemplars=["it"])
    assert heat.shape == (2, 32, 32)
    assert np.corrcoef(heat[0].ravel(), heat[1].ravel())[0, 1] > 0.7


def test_texts_and_exemplars_are_asked_together(bench: Bench) -> None:
    detector = bench.detector()
    look = detector.look(
        bench.discs, bench.discs_features, ["a blue circle"], exemplars=["this"],
        shown=[Shown("this", around(REDS[0]))],
    )  # fmt: skip
    by_label = {
        label: [item for item in look.found if item.label == label]
        for label in ("a blue circle", "this")
    }
    assert hit(by_label["this"], REDS) == 3
    assert hit(by_label["a blue circle"], BLUES) == 3
    assert hit(by_label["this"], BLUES) == hit(by_label["a blue circle"], REDS) == 0


def test_what_cannot_be_learnt_or_is_not_known_is_refused_and_the_rest_goes_on(
    bench: Bench,
) -> None:
    look = bench.detector(SWEPT).look(
        bench.cells, bench.cells_features, ["cell"], exemplars=["outside", "never"],
        shown=[Shown("outside", (900.0, 10.0, 950.0, 60.0))],
    )  # fmt: skip
    assert "covers no pixel of the 640x480 frame" in look.refused["outside"]
    assert "was not shown to this detector" in look.refused["never"]
    assert len(look.found) >= 6


@pytest.mark.parametrize("verify", ["token", "crop", "token+crop"])
def test_exemplars_are_read_alike_in_every_way_to_verify(bench: Bench, verify: str) -> None:
    shown = [Shown("this", around(REDS[0]))]
    looks = [
        bench.detector(replace(SETTINGS, verify=mode, clip_size_px=256)).look(  # type: ignore[arg-type]
            bench.discs, bench.discs_features, (), exemplars=["this"], shown=shown
        )
        for mode in ("pooled", verify)
    ]
    assert [i.score for i in looks[0].found] == [i.score for i in looks[1].found]


def test_a_look_gives_the_class_embedding(bench: Bench) -> None:
    look = bench.detector().look(bench.cells, bench.cells_features, ["cell"])
    assert look.embedding.shape == (128,)
    assert look.embedding.dtype == np.float32
    assert np.linalg.norm(look.embedding) == pytest.approx(1.0, abs=1e-5)
    other = bench.detector().look(bench.discs, bench.discs_features, ["cell"])
    assert look.embedding @ other.embedding < 0.9
    short = bench.detector().detect(bench.cells, bench.cells_features, ["cell"])
    assert [i.score for i in short] == [i.score for i in look.found]


def test_known_embeddings_are_scored_like_masks_of_quality_one(bench: Bench) -> None:
    detector = bench.detector()
    look = detector.look(
        bench.discs, bench.discs_features, ["a blue circle"], exemplars=["this"],
        shown=[Shown("this", around(REDS[0]))],
    )  # fmt: skip
    known = np.stack([item.embedding for item in look.found])
    scores = detector.describe(known, ["a blue circle", "cell"], exemplars=["this", "never"])
    assert scores.shape == (len(known), 4)
    assert scores.dtype == np.float32
    assert scores[:, 3].max() == 0.0, "what was never shown describes nothing"
    for item, row in zip(look.found, scores, strict=True):
        assert item.evidence is not None
        exact = float(
            final_score(torch.tensor(item.evidence.exemplars["this"]), 1.0, SETTINGS.calibration)
        )
        assert row[2] == pytest.approx(exact, abs=1e-4)
    for label, column in (("a blue circle", 0), ("this", 2)):
        sure = [n for n, i in enumerate(look.found) if i.label == label]
        assert sure
        # A mask of quality 1 scores no lower than one that was less good.
        assert all(scores[n, column] >= look.found[n].score - 0.02 for n in sure)
        assert all(scores[n, 2 - column] < 0.5 for n in sure)
    assert detector.describe(known[:0], ["cell"]).shape == (0, 1)
    with pytest.raises(ModelError, match=r"embeddings are \(2, 5\); \(N, 128\) is needed"):
        detector.describe(np.zeros((2, 5), np.float32), ["cell"])


def test_every_so_many_looks_the_whole_frame_is_searched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[int] = []
    plain = TextDetector._decode

    def count(
        self: TextDetector, features: Features, points: torch.Tensor, boxes: object
    ) -> object:
        prompts[-1] += len(points)
        return plain(self, features, points, boxes)  # type: ignore[arg-type]

    monkeypatch.setattr(TextDetector, "_decode", count)
    blind = replace(SETTINGS, peak_threshold=1.0, recall_every=3, recall_grid=4)
    detector = bench.detector(blind)
    found = []
    for _ in range(6):
        prompts.append(0)
        found.append(detector.detect(bench.cells, bench.cells_features, ["cell"]))
    assert prompts == [0, 0, 16, 0, 0, 16]
    assert found[0] == []
    assert found[2], "cold as it was, the grid hit cells and their masks score"
    assert [i.score for i in found[2]] == [i.score for i in found[5]]
    assert detector.looks == 6


def test_a_small_object_is_found_in_tiles(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((480, 640, 3), 120, dtype=np.uint8)
    down, across = np.mgrid[:480, :640]
    image[(across - 210) ** 2 + (down - 150) ** 2 <= 15**2] = RED

    def disc(
        sam: object,
        features: Features,
        points: torch.Tensor,
        boxes: object,
        *,
        rendered: bool,
        decoder: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        steps = (torch.arange(256) + 0.5) / 256
        away = ((steps[None, None] - points[:, 0, None, None]) * 640) ** 2
        away = away + ((steps[None, :, None] - points[:, 1, None, None]) * 480) ** 2
        return 15.0 - away.sqrt(), torch.full((len(points),), 0.9)

    monkeypatch.setattr("engines.detector.decode_prompts", disc)
    found = {}
    for tiles in (1, 2):
        settings = DetectorSettings(clip_size_px=256, tiles=tiles)
        found[tiles] = bench.detector(settings).detect(
            image, bench.discs_features, ["a red circle"]
        )
    assert found[1] == []
    assert len(found[2]) == 1
    x, y = found[2][0].point
    assert np.hypot(x - 210, y - 150) < 16


def test_tiles_give_one_finer_map_and_no_tokens(bench: Bench) -> None:
    detector = bench.detector(replace(SWEPT, tiles=2, clip_size_px=256))
    assert detector.heatmap(bench.cells, ["cell"]).shape == (1, 28, 28)
    assert len(detector.detect(bench.cells, bench.cells_features, ["cell"])) >= 6
    with pytest.raises(ModelError, match="tiles 2 do not go with verify 'token'; beside tiles"):
        replace(SETTINGS, tiles=2, verify="token")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tiles": 0}, "tiles 0 is not usable; accepted is 1 to 8"),
        ({"recall_every": -1}, "recall_every -1 is not usable; accepted is 0 or more"),
        ({"recall_grid": 65}, "recall_grid 65 is not usable; accepted is 1 to 64"),
    ],
)
def test_numbers_that_cannot_be_are_said(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        replace(SETTINGS, **wrong)  # type: ignore[arg-type]


def test_nothing_asked_is_nothing_found(bench: Bench) -> None:
    detector = bench.detector()
    detector.exemplars = ExemplarBook()
    look = detector.look(bench.cells, bench.cells_features, ())
    assert look.found == []
    assert look.refused == {}
