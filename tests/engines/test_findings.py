"""From evidence to results: what is too unsure, what is outdone, and how fine masks are."""

from __future__ import annotations

import pytest
import torch

from engines.candidates import Candidates
from engines.detection import DetectorSettings, Found
from engines.findings import Words, findings, mask_side
from engines.scoring import Rivals, weigh


@pytest.mark.parametrize(
    ("image_side", "side"),
    [(64, 64), (256, 256), (384, 192), (512, 256), (640, 160), (1024, 256), (2048, 512)],
)
def test_masks_are_whole_multiples_of_the_decoder_s(image_side: int, side: int) -> None:
    assert mask_side(image_side) == side
    assert side % (image_side // 4) == 0


def found_of(
    seen: list[list[float]], rival_of: tuple[int, ...] = (), least: float = 0.0
) -> list[Found]:
    """Texts are the first two axes, the negative is the last, rivals are the third."""
    axes, vectors = torch.eye(4), torch.tensor(seen)
    count = len(vectors)
    rivals = Rivals(axes[2:3].expand(len(rival_of), -1), rival_of)
    evidence = weigh(vectors, axes[:2], axes[3:], torch.tensor(10.0), rivals=rivals)
    logits = torch.full((count, 16, 16), -1.0)
    logits[:, 4:8, 4:8] = 1.0
    masks = Candidates(
        torch.full((count, 2), 0.4), logits, torch.ones(count), torch.zeros(count, dtype=torch.bool)
    )
    words = Words(("this", "that"), ("nothing",), rival_of=rival_of)
    settings = DetectorSettings(min_probability=least, min_score=0.4)
    return findings(words, evidence, masks, vectors, settings, (32, 32), 64)


def test_a_mask_that_a_rival_describes_better_is_not_what_was_asked_for() -> None:
    seen = [[0.8, 0.0, 0.6, 0.3], [0.6, 0.0, 0.8, 0.3]]
    assert len(found_of(seen)) == 2
    (found,) = found_of(seen, rival_of=(0,))
    assert found.embedding.tolist() == pytest.approx(seen[0])


def test_an_outdone_text_leaves_the_mask_to_another_one() -> None:
    seen = [[0.7, 0.5, 0.8, 0.0]]
    assert [item.label for item in found_of(seen)] == ["this"]
    assert [item.label for item in found_of(seen, rival_of=(0,))] == ["that"]
    assert found_of(seen, rival_of=(0, 1)) == []


def test_what_was_held_against_rivals_need_not_be_sure_besides() -> None:
    seen = [[0.5, 0.0, 0.0, 0.4]]  # 0.73
    assert found_of(seen, least=0.7)
    assert not found_of(seen, least=0.8)
    assert found_of(seen, rival_of=(0,), least=0.8)
    assert not found_of(seen, rival_of=(1,), least=0.8)
