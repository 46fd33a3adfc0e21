"""Coloured shapes: what is asked for is held against other colours and shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detection import DetectorSettings, Found
from engines.detector import TextDetector
from engines.registry import load_clip, load_tracker
from engines.texts import no_contrasts, text_bank
from engines.verification import MICRO_CROPS
from stream.synth.shapes import draw_shapes

SETTINGS = DetectorSettings(
    sweep_grid=16, one_piece=True, min_quality=0.3, min_probability=0.72,
    verify="crop", crops=MICRO_CROPS,
)  # fmt: skip
Find = Callable[[np.ndarray, str], list[Found]]


@pytest.fixture(scope="module")
def detector() -> tuple[Find, Find]:
    """Finds texts, and finds them without holding them against others."""
    tracker, clip = load_tracker("micro"), load_clip("micro").model

    def finder(held: bool) -> Find:
        bank = text_bank(clip, "micro")
        if not held:
            bank.contrasts = no_contrasts
        made = TextDetector(tracker.model, clip, bank, SETTINGS, rendered_prompts=True)
        return lambda image, text: made.detect(image, tracker.encode(image), [text])

    return finder(True), finder(False)


def picture(seed: int) -> tuple[np.ndarray, set[tuple[str, ...]]]:
    image, _, words = draw_shapes(np.random.default_rng(seed), 320, 320, 2)
    return image, {tuple(texts[1].split()[1:]) for texts in words.values()}


def test_what_is_there_is_found_by_size_colour_and_shape_too(detector: tuple[Find, Find]) -> None:
    held, alone = detector
    right, before = 0, 0
    for seed in range(4):
        image, there = picture(seed)
        for name in there:
            text = "a " + " ".join(name)
            right += bool(held(image, text))
            before += bool(alone(image, text))
    assert right > before


def test_another_colour_or_shape_is_not_taken_for_it(detector: tuple[Find, Find]) -> None:
    held, _ = detector
    other = {"circle": "square", "square": "circle", "triangle": "star", "star": "triangle"}
    wrong = 0
    for seed in range(4):
        image, there = picture(seed)
        pairs = {name[1:] for name in there}
        for colour, shape in pairs:
            if (colour, other[shape]) not in pairs:
                wrong += bool(held(image, f"a {colour} {other[shape]}"))
    assert wrong <= 1
