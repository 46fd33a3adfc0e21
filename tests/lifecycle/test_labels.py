from __future__ import annotations

import numpy as np
import pytest

from stream.config import LifecycleConfig
from stream.lifecycle import (
    Rephrased,
    choose_label,
    claims,
    match_labelled,
    misfits,
    rephrase,
    weigh,
)

RULES = LifecycleConfig()


def test_the_surest_of_overlapping_detections_stands_for_the_object() -> None:
    iou = np.eye(4, dtype=np.float32)
    iou[0, 2] = iou[2, 0] = 0.8
    iou[1, 3] = iou[3, 1] = 0.69
    assert claims(iou, [0.6, 0.9, 0.8, 0.5], RULES) == {1: [1], 2: [2, 0], 3: [3]}


def test_what_is_too_vague_to_keep_a_track_claims_nothing() -> None:
    scores = [0.39, 0.4]
    assert claims(np.eye(2, dtype=np.float32), scores, RULES) == {1: [1]}
    rules = LifecycleConfig(birth_score=0.0)
    assert set(claims(np.eye(2, dtype=np.float32), scores, rules)) == {0, 1}


def test_evidence_is_a_moving_average_in_which_silence_counts_as_nothing() -> None:
    evidence = weigh({}, {"cell": 0.9}, RULES)
    assert evidence == {"cell": 0.9}
    evidence = weigh(evidence, {"bead": 0.5, "cell": 0.4}, RULES)
    assert evidence == pytest.approx({"cell": 0.75, "bead": 0.15})
    for _ in range(20):
        evidence = weigh(evidence, {"cell": 0.8}, RULES)
    assert set(evidence) == {"cell"}, "what nobody says any more is forgotten"


def test_another_label_takes_over_by_a_margin_only() -> None:
    assert choose_label("cell", {"cell": 0.4, "bead": 0.59}, RULES) == "cell"
    assert choose_label("cell", {"cell": 0.4, "bead": 0.61}, RULES) == "bead"
    assert choose_label("cell", {"bead": 0.3}, RULES) == "bead"
    assert choose_label("cell", {}, RULES) == "cell"


def test_pairs_of_one_label_come_first_but_a_label_forbids_no_pair() -> None:
    iou = np.array([[0.6, 0.7], [0.0, 0.55]], np.float32)
    same = np.array([[True, False], [False, False]])
    assert match_labelled(iou, same, RULES) == [(0, 0), (1, 1)]
    assert match_labelled(iou, ~np.zeros_like(same), RULES) == [(0, 1)]
    assert match_labelled(iou, np.zeros_like(same), RULES)[0] == (0, 1)


def test_overlaps_of_zero_match_nothing_whatever_the_threshold() -> None:
    nothing = np.zeros((2, 2), np.float32)
    assert match_labelled(nothing, nothing == 0, LifecycleConfig(match_iou=0.0)) == []


def test_a_thing_inside_another_kind_of_thing_is_no_misfit() -> None:
    iou = np.array([[1.0, 0.2], [0.2, 1.0]], np.float32)
    contained = np.array([[1.0, 1.0], [1.0, 1.0]], np.float32)
    pairs = [(0, 0), (1, 1)]
    assert misfits(iou, contained * np.eye(2, dtype=np.float32), pairs, RULES) == ([], [])
    assert misfits(iou, contained, pairs, RULES)[0] == pairs, "of one kind it would be"


@pytest.mark.parametrize(
    ("texts", "scores", "expected"),
    [
        (["cell", "car"], {}, Rephrased({1: "cell", 2: "car"}, [])),
        (["cell", "car", "bus"], {2: {"bus": 0.99}}, Rephrased({1: "cell", 2: "car"}, [])),
        (["cell"], {2: {"cell": 0.1}}, Rephrased({1: "cell"}, [2])),
        (["cell", "red car"], {2: {"cell": 0.2, "red car": 0.5}},
         Rephrased({1: "cell", 2: "red car"}, [])),
        (["cell", "red car"], {2: {"cell": 0.2, "red car": 0.49}}, Rephrased({1: "cell"}, [2])),
        (["bus", "van"], {1: {"bus": 0.7, "van": 0.8}, 2: {"bus": 0.8, "van": 0.8}},
         Rephrased({1: "van", 2: "bus"}, [])),
        (["bus"], {}, Rephrased({}, [1, 2])),  # nothing is known of how they look
        ([], {1: {"cell": 1.0}}, Rephrased({}, [1, 2])),
    ],
)  # fmt: skip
def test_who_goes_on_under_new_texts(
    texts: list[str], scores: dict[int, dict[str, float]], expected: Rephrased
) -> None:
    assert rephrase({1: "cell", 2: "car"}, texts, scores, RULES) == expected
