"""The life of a track: born, confirmed, hidden, lost, recognised. Counted in detection events.

A detection of frame t is matched against the tracks' masks at t, however late it comes. Every rule
is a pure function with its threshold in `LifecycleConfig`; `Tracks` only keeps the books.
"""

from __future__ import annotations

from stream.lifecycle.divisions import division_iou, find_mother
from stream.lifecycle.gallery import Gallery, cosines, mean_embedding, recognise
from stream.lifecycle.labels import Rephrased, choose_label, claims, rephrase, weigh
from stream.lifecycle.matching import (
    iou_matrix,
    match,
    match_labelled,
    misfits,
    overlap_matrices,
    younger_duplicates,
)
from stream.lifecycle.rules import (
    certainty,
    gives_way,
    has_failed,
    has_left,
    is_abandoned,
    is_confirmed,
    is_new,
    wants_reconditioning,
)
from stream.lifecycle.track import Changes, Track
from stream.lifecycle.tracks import Tracks

__all__ = [
    "Changes",
    "Gallery",
    "Rephrased",
    "Track",
    "Tracks",
    "certainty",
    "choose_label",
    "claims",
    "cosines",
    "division_iou",
    "find_mother",
    "gives_way",
    "has_failed",
    "has_left",
    "iou_matrix",
    "is_abandoned",
    "is_confirmed",
    "is_new",
    "match",
    "match_labelled",
    "mean_embedding",
    "misfits",
    "overlap_matrices",
    "recognise",
    "rephrase",
    "wants_reconditioning",
    "weigh",
    "younger_duplicates",
]
