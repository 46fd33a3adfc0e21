"""When tracks are born, shown and ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from stream.config.kinds import Fraction, Seconds, Section

MOST_CONFIRM_EVENTS = 16


def _at_least(field: str) -> Callable[[int, ValidationInfo], int]:
    def check_value(value: int, info: ValidationInfo) -> int:
        least = info.data.get(field, value)
        if value < least:
            raise ValueError(f"it must not be smaller than {field}, which is {least}")
        return value

    return check_value


class LifecycleConfig(Section):
    """When tracks are born, shown and ended; counted in detection events."""

    match_iou: Fraction = 0.5
    other_label_iou: Fraction = 0.2
    """How much less an overlap counts under another label, where pairs compete."""
    claim_iou: Fraction = 0.7
    """Detections that overlap so much are of one object: the surest stands for it, the others are
    evidence for their labels only."""
    label_rate: Fraction = 0.3
    """Weight of the newest event in the evidence for each label."""
    label_margin: Fraction = 0.2
    """Lead in evidence that another label needs to take over."""
    text_score: Fraction = 0.5
    """Lowest score under an edited text with which a track goes on."""
    new_iou: Fraction = 0.1
    birth_score: Fraction = 0.7
    keep_score: Fraction = 0.4
    """Lowest score of a detection that supports a track; where `birth_score` is lower, that."""
    score_rate: Fraction = 0.3
    """Weight of the newest support in a track's score."""
    confirm_score: Fraction = 0.9
    confirm_supports: Annotated[int, Field(ge=1, le=MOST_CONFIRM_EVENTS)] = 2
    confirm_window: Annotated[
        int,
        Field(ge=1, le=MOST_CONFIRM_EVENTS, validate_default=True),
        AfterValidator(_at_least("confirm_supports")),
    ] = 3
    remove_after_unsupported: Annotated[int, Field(ge=1)] = 8
    remove_after_empty_s: Seconds = 2.0
    duplicate_iou: Fraction = 0.7
    misfit_contained: Fraction = 0.7
    """A track follows a part of an object, or several, when it and a detection that does not
    support it lie in one another by so much; it then follows the detection."""
    divisions: bool = False
    """Whether one object may become two, as cells do: then its track ends, and two are born that
    name it as their parent."""
    division_iou: Fraction = 0.3
    """Least overlap of two daughters together with their mother as she was."""
    division_events: Annotated[int, Field(ge=1, le=MOST_CONFIRM_EVENTS)] = 3
    """In how many detections before the younger daughter was found the mother is looked for."""
    recondition_score: Fraction = 0.8
    recondition_every: Annotated[int, Field(ge=1)] = 4
    """A track is corrected in every such event that supports it: each time costs a memory."""
    cap_margin: Fraction = 0.1
    """How much surer a new object must be than the least certain track, to take its place where
    there are `tracker.max_objects`."""
    recognise_cosine: Fraction = 0.9
    """Lowest cosine of the embeddings of an object that comes back; 1 for never."""
    recognise_margin: Fraction = 0.05
    """How much more it must look like itself than like anything else."""
    recognise_within_s: Seconds = 60.0
    """Stream time after which an object that left is forgotten."""
    embedding_rate: Fraction = 0.1
    """Least weight of the newest detection in a track's mean embedding."""
    gallery_size: Annotated[int, Field(ge=0, le=1000)] = 64
    """Tracks that left and may come back; 0: none."""
    history_frames: Annotated[int, Field(ge=1, le=512)] = 64
