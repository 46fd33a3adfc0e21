"""Figures of detectors, as rows of plain numbers, and as tables."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from detector_scores import (
    Counted,
    Seen,
    average_precision,
    counted,
    fold_platt,
    fold_thresholds,
    platt,
    pooled,
    raw_threshold,
)
from measuring import Table

from engines.detector import DetectorSettings
from train.platt import brier, calibration_error, reliability

LIVE_SCORE = DetectorSettings().min_score
SIZES_PX = (0.0, 8.0, 12.0, 16.0, 24.0, 1e9)
SCORES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def setting_row(
    name: str, table: str, seen: Sequence[Seen], fitted: tuple[float, float]
) -> dict[str, Any]:
    """Return the figures of one setting."""
    return {
        "setting": name,
        "table": table,
        "live": asdict(live_count(seen, fitted)),
        "folds": asdict(counted(seen, fold_thresholds(seen))),
        "ap": average_precision(seen),
        "recall_of_all": counted(seen, [0.0] * len(seen)).recall,
        "prompts": float(np.mean([s.prompts for s in seen])),
        "seconds": float(np.mean([s.seconds for s in seen])),
        "seconds_median": float(np.median([s.seconds for s in seen])),
    }


def live_count(seen: Sequence[Seen], fitted: tuple[float, float]) -> Counted:
    """Count what the live stage would take."""
    return counted(seen, [raw_threshold(LIVE_SCORE, fitted)] * len(seen))


def kind_rows(seen: Sequence[Seen], fitted: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the live setting's figures by kind of image."""
    by_kind: dict[str, list[Seen]] = defaultdict(list)
    for image in seen:
        by_kind[image.kind].append(image)
    groups = {**dict(sorted(by_kind.items())), "all": list(seen)}
    return [
        {
            "kind": kind,
            "images": len(group),
            "objects": sum(s.truths for s in group),
            "ap": average_precision(group),
            **asdict(live_count(group, fitted)),
        }
        for kind, group in groups.items()
    ]


def size_rows(seen: Sequence[Seen], least: float) -> list[dict[str, Any]]:
    """Return how many true objects of each size are found with at least a raw score."""
    sizes = np.concatenate([s.sizes_px for s in seen])
    hit = []
    for image in seen:
        hit.append(np.zeros(image.truths, np.bool_))
        hit[-1][image.of[(image.of >= 0) & (image.scores >= least)]] = True
    found = np.concatenate(hit)
    rows = []
    for low, high in pairwise(SIZES_PX):
        here = (sizes >= low) & (sizes < high)
        recall = float(found[here].mean()) if here.any() else 0.0
        rows.append({"from_px": low, "objects": int(here.sum()), "recall": recall})
    return rows


def score_rows(seen: Sequence[Seen], fitted: tuple[float, float]) -> list[dict[str, float]]:
    """Return what is found with at least each of some calibrated scores."""
    return [
        {"score": score} | asdict(counted(seen, [raw_threshold(score, fitted)] * len(seen)))
        for score in SCORES
    ]


def text_rows(
    seen: dict[str, list[Seen]], absent: Sequence[str], fitted: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return what each text finds; of one that names nothing there, all that is found is wrong."""
    least = raw_threshold(LIVE_SCORE, fitted)
    return [
        {
            "text": text,
            "there": text not in absent,
            "found": float(np.mean([(s.scores >= least).sum() for s in group])),
            "ap": None if text in absent else average_precision(group),
            **({} if text in absent else asdict(live_count(group, fitted))),
        }
        for text, group in seen.items()
    ]


def trust(seen: Sequence[Seen], fitted: tuple[float, float]) -> dict[str, dict[str, Any]]:
    """Return how far scores are from probabilities: raw, shipped, and fitted on other images."""
    raw, right = pooled(seen)
    judged = {"raw": (raw, right), "shipped": (platt(raw, fitted), right)}
    try:
        judged["folds"] = fold_platt(seen)
    except ValueError as error:
        print(f"no Platt scaling on folds: {error}", file=sys.stderr)
    result = {}
    for name, (scores, truth) in judged.items():
        pair = torch.from_numpy(scores), torch.from_numpy(truth)
        bins = [asdict(part) if part.count else None for part in reliability(*pair)]
        result[name] = {
            "ece": calibration_error(*pair),
            "brier": brier(*pair),
            "detections": len(scores),
            "right": int(truth.sum()),
            "bins": bins,
        }
    return result


def setting_tables(rows: list[dict[str, Any]]) -> list[Table]:
    """Return a table for each group of settings, the live one first in each."""
    columns = [
        "setting", "F1 live", "precision", "recall", "count error", "F1 folds", "AP",
        "recall of all", "prompts", "s an image",
    ]  # fmt: skip
    tables = []
    for title in dict.fromkeys(row["table"] for row in rows if row["table"]):
        shown = [row for row in rows if row["table"] in ("", title)]
        cells = [
            [
                row["setting"],
                *(f"{row['live'][key]:.3f}" for key in ("f1", "precision", "recall")),
                f"{row['live']['count_error']:+.1f}",
                *(f"{value:.3f}" for value in (row["folds"]["f1"], row["ap"])),
                f"{row['recall_of_all']:.3f}",
                f"{row['prompts']:.0f}",
                f"{row['seconds']:.2f}",
            ]
            for row in shown
        ]
        tables.append(Table(title.capitalize(), columns, cells))
    return tables


def kind_table(rows: list[dict[str, Any]]) -> Table:
    """Return the table by kind of image."""
    keys = ("precision", "recall", "f1", "ap", "mean_iou")
    cells = [
        [
            row["kind"], str(row["images"]), str(row["objects"]), *(f"{row[k]:.3f}" for k in keys),
            f"{row['count_error']:+.1f}", f"{row['count_error_abs']:.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    return Table(
        "Live setting, by kind of image",
        ["kind", "images", "objects", "precision", "recall", "F1", "AP", "mean IoU",
         "count error", "without sign"],
        cells,
    )  # fmt: skip


def size_table(rows: dict[str, list[dict[str, Any]]]) -> Table:
    """Return the table of recall by size, a column for each setting."""
    columns = ["side from, px of the input", "objects", *(f"recall {name}" for name in rows)]
    cells = [
        [
            f"{row['from_px']:.0f}",
            str(row["objects"]),
            *(f"{r[i]['recall']:.3f}" for r in rows.values()),
        ]
        for i, row in enumerate(next(iter(rows.values())))
    ]
    return Table("True objects found, by the square root of their area", columns, cells)


def text_table(rows: list[dict[str, Any]]) -> Table:
    """Return the table of texts."""
    cells = [
        [
            row["text"],
            "yes" if row["there"] else "no",
            f"{row['found']:.2f}",
            *(f"{row[key]:.3f}" if row["there"] else "" for key in ("f1", "ap")),
        ]
        for row in rows
    ]
    return Table("Texts", ["text", "there", "found an image", "F1 live", "AP"], cells)


def score_table(rows: dict[str, list[dict[str, float]]]) -> Table:
    """Return the table by least score, three columns for each setting."""
    keys = {"precision": "precision", "recall": "recall", "f1": "F1"}
    columns = ["least score", *(f"{label} {name}" for name in rows for label in keys.values())]
    cells = [
        [f"{score:.1f}", *(f"{row[i][key]:.3f}" for row in rows.values() for key in keys)]
        for i, score in enumerate(SCORES)
    ]
    return Table("By calibrated score", columns, cells)


def trust_table(settings: dict[str, dict[str, dict[str, Any]]]) -> Table:
    """Return the table of calibration errors."""
    cells = [
        [setting, name, f"{row['ece']:.3f}", f"{row['brier']:.3f}", str(row["detections"]),
         str(row["right"])]
        for setting, rows in settings.items()
        for name, row in rows.items()
    ]  # fmt: skip
    columns = ["setting", "scores", "ECE", "Brier", "detections", "right"]
    return Table("Scores as probabilities", columns, cells)
