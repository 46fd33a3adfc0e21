"""Measures of masks and tracks against annotated sequences.

Needs NumPy, SciPy and the readers of pictures; models and sockets are no part of it.
"""

from stream.evaluate.contours import contour_accuracy
from stream.evaluate.identity import Identity, IdentityTally
from stream.evaluate.regions import Overlaps, overlaps, region_similarity
from stream.evaluate.scores import MaskTally, ObjectScore
from stream.evaluate.sequences import (
    AnnotatedFrame,
    AnnotatedSequence,
    SequenceError,
    find_sequences,
)

__all__ = [
    "AnnotatedFrame",
    "AnnotatedSequence",
    "Identity",
    "IdentityTally",
    "MaskTally",
    "ObjectScore",
    "Overlaps",
    "SequenceError",
    "contour_accuracy",
    "find_sequences",
    "overlaps",
    "region_similarity",
]
