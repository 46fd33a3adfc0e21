"""Which frames an object remembers, and where in the bank they lie: the books, not the tensors.

SAM2 (Ravi et al. 2024, arXiv 2408.00714) keeps every conditioning frame and every output. Here an
object has a slot of fixed size in `engines.bank`. Its places for attention hold conditioning frames
and the most recent frames; rings hold pointers, and the history that a late prompt needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engines.objects import ObjectMask, Prompt
from engines.pending import Pending
from engines.settings import Limits

NEVER = -1


@dataclass(frozen=True, slots=True)
class Attended:
    """What one frame attends to."""

    spatial: list[tuple[int, int]]
    """(place in the slot, row of the temporal code); conditioning frames first."""
    pointers: list[tuple[int, int]]
    """(place of the pointer in the slot, distance in frames)."""


@dataclass(slots=True)
class Layout:
    """Where things lie in a slot; the same for all objects."""

    limits: Limits
    conditioning_row: int
    """Row of the temporal code that stands for prompted frames."""
    conditioning: int = 0
    """Places for conditioning frames; grows only where their number is not limited."""

    def __post_init__(self) -> None:
        if not self.conditioning:
            self.conditioning = self.limits.conditioning or 4

    @property
    def recents(self) -> int:
        """Places for recent frames."""
        limits = self.limits
        return limits.recent_frames + (1 if limits.stride > 1 else 0)

    @property
    def history(self) -> int:
        """Frames whose memory, pointer and logits are kept as they were."""
        return self.limits.lookback + self.limits.late_frames + 1

    @property
    def pointers(self) -> int:
        """Places for the pointers of frames without a prompt."""
        return self.limits.recent_pointers + self.limits.late_frames + 1

    def recent_place(self, frame_index: int) -> int:
        """Where a frame's memory lies: every stride-th has its place, the others share one."""
        stride, count = self.limits.stride, self.limits.recent_frames
        if frame_index % stride:
            return count
        return (frame_index // stride) % count

    def recent_frame(self, frame_index: int, back: int) -> int:
        """Which frame is the `back`-th recent one (1 is the last) as SAM2 picks them."""
        if back == 1:
            return frame_index - 1
        stride = self.limits.stride
        return ((frame_index - 2) // stride - (back - 2)) * stride


@dataclass(slots=True)
class Memory:
    """The books of one object. Frame indices count the frames given to the tracker."""

    slot: int
    layout: Layout
    conditioning: dict[int, int] = field(default_factory=dict)
    """Frame index -> place, in the order in which they came."""
    recents: list[int] = field(default_factory=list)
    """Place -> frame index."""
    pointers: list[int] = field(default_factory=list)
    """Place -> frame index."""
    stored: list[int] = field(default_factory=list)
    """Place in the history -> frame index, of frames without a prompt that were remembered."""
    outputs: list[int] = field(default_factory=list)
    """Place in the history -> frame index, of frames whose logits are there."""
    tracked: list[int] = field(default_factory=list)
    """Place in the history -> frame index, of frames that were stepped over."""
    pending: dict[int, Pending] = field(default_factory=dict)
    """Frame index -> what it was prompted to be since the last step, in order of the prompts."""
    prompts: dict[int, Prompt] = field(default_factory=dict)
    """Frame index -> what was said about it, while it can still be refined."""
    results: dict[int, ObjectMask] = field(default_factory=dict)
    """Frame index -> mask of a conditioning frame, while it can still be asked for."""
    last: ObjectMask | None = None
    """Mask in the last frame that was stepped."""
    steadiness: float = 0.0
    """IoU of the last two masks."""

    def __post_init__(self) -> None:
        self.recents = [NEVER] * self.layout.recents
        self.pointers = [NEVER] * self.layout.pointers
        self.stored = [NEVER] * self.layout.history
        self.outputs = [NEVER] * self.layout.history
        self.tracked = [NEVER] * self.layout.history

    # -- what there is ------------------------------------------------------------------------

    def has_output(self, frame_index: int) -> bool:
        """Whether the history holds the logits of this frame."""
        return self.outputs[frame_index % len(self.outputs)] == frame_index

    def was_tracked(self, frame_index: int) -> bool:
        """Whether the object was stepped through this frame, as far as the history reaches."""
        return self.tracked[frame_index % len(self.tracked)] == frame_index

    def is_stored(self, frame_index: int) -> bool:
        """Whether the history holds the memory of this frame, which has no prompt."""
        return self.stored[frame_index % len(self.stored)] == frame_index

    def attended(self, frame_index: int) -> Attended:
        """Return what a frame attends to."""
        layout, limits = self.layout, self.layout.limits
        spatial = [(place, layout.conditioning_row) for place in self.conditioning.values()]
        for back in range(limits.recent_frames, 0, -1):
            wanted = layout.recent_frame(frame_index, back)
            place = layout.recent_place(wanted)
            if wanted >= 0 and self.recents[place] == wanted:
                spatial.append((layout.conditioning + place, back - 1))
        pointers = [
            (layout.pointers + place, frame_index - index)
            for index, place in self.conditioning.items()
            if index <= frame_index
        ]
        for distance in range(1, limits.recent_pointers + 1):
            wanted = frame_index - distance
            if wanted >= 0 and self.pointers[wanted % layout.pointers] == wanted:
                pointers.append((wanted % layout.pointers, distance))
        return Attended(spatial, pointers)

    # -- what is written ----------------------------------------------------------------------

    def condition(self, frame_index: int) -> tuple[int, int | None]:
        """Book a prompted frame.

        Beyond the limit the oldest goes, but never the first, which shows the object as it was
        asked for.

        Returns:
            The place for its memory, and the frame that had to go, if any.
        """
        gone = None
        place = self.conditioning.get(frame_index)
        if place is None:
            limit = self.layout.limits.conditioning
            if limit is not None and len(self.conditioning) >= limit:
                first = next(iter(self.conditioning))
                gone = min((i for i in self.conditioning if i != first), default=first)
                place = self.conditioning.pop(gone)
            else:
                used = set(self.conditioning.values())
                place = next(i for i in range(self.layout.conditioning) if i not in used)
            self.conditioning[frame_index] = place
        self.give_up(frame_index)
        return place, gone

    def remember(self, frame_index: int) -> int:
        """Book a frame without a prompt; return its place for attention."""
        place = self.layout.recent_place(frame_index)
        self.recents[place] = frame_index
        self.pointers[frame_index % len(self.pointers)] = frame_index
        self.stored[frame_index % len(self.stored)] = frame_index
        return self.layout.conditioning + place

    def give_up(self, frame_index: int) -> None:
        """Book that the memory of a frame without a prompt is not valid any more."""
        for ring in (self.pointers, self.stored):
            if ring[frame_index % len(ring)] == frame_index:
                ring[frame_index % len(ring)] = NEVER
        place = self.layout.recent_place(frame_index)
        if self.recents[place] == frame_index:
            self.recents[place] = NEVER

    def output(self, frame_index: int) -> None:
        """Book that the logits of a frame are there."""
        self.outputs[frame_index % len(self.outputs)] = frame_index

    def track(self, frame_index: int) -> None:
        """Book that a frame was stepped over, and those before it that were prompted late."""
        for index in (*(i for i in self.prompts if i < frame_index), frame_index):
            place = index % len(self.tracked)
            self.tracked[place] = max(self.tracked[place], index)

    def rewind(self, frame_index: int) -> None:
        """Forget that this frame and later ones were stepped over."""
        for ring in (self.pointers, self.stored, self.tracked):
            ring[:] = [NEVER if index >= frame_index else index for index in ring]

    def restore(self, frame_index: int) -> list[tuple[int, int]]:
        """Book what a frame attends to as it was then, or will be.

        Returns:
            (frame, place) of memories that have to be brought back from the history.
        """
        before, missing = self.recents, []
        self.recents = [NEVER] * len(before)
        for back in range(self.layout.limits.recent_frames, 0, -1):
            wanted = self.layout.recent_frame(frame_index, back)
            if wanted < 0 or not self.is_stored(wanted):
                continue
            place = self.layout.recent_place(wanted)
            self.recents[place] = wanted
            if before[place] != wanted:
                missing.append((wanted, self.layout.conditioning + place))
        return missing

    def prune(self, last_frame: int) -> None:
        """Forget prompts that cannot be refined any more, and their masks."""
        oldest = last_frame - self.layout.limits.late_frames
        for books in (self.prompts, self.results):
            for index in [i for i in books if i < oldest]:
                del books[index]
