"""One frame for all objects: where each is looked for, what is found, and what is remembered."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch

from engines import cleanup as cleaning
from engines.continuity import check_finite, is_finite
from engines.device_mask import as_masks, want_masks
from engines.features import Features
from engines.heads import Decoded
from engines.memory import Memory
from engines.objects import ObjectMask
from engines.prompting import as_mask
from engines.settings import Calm, Cleanup, Window
from engines.state import State
from engines.transfer import Gather, download, on_device
from engines.window import Crop, choose_crop, leaves, mask_boxes

# Pixels of the logits a token.
SCALE = 4


class Stepping:
    """Steps objects through a frame.

    Args:
        state: What is read from and written to.
        cleanup: What is done to masks after the model.
        gathered: Whether what the host has to know comes in one download at the end.
    """

    def __init__(self, state: State, cleanup: Cleanup, *, gathered: bool = False) -> None:
        self._state = state
        self._gathered = gathered
        self._cleanup = cleanup
        # As in the official predictor, memories are made before holes are filled.
        self._remembered = replace(cleanup, fill_holes_px=0, drop_specks_px=0, smooth=0.0)

    def __call__(
        self,
        frame_index: int,
        features: Features,
        ids: list[int] | None = None,
        gather: Gather | None = None,
    ) -> dict[int, ObjectMask]:
        """Find objects in a frame and remember it.

        Args:
            frame_index: The frame's.
            features: The frame's.
            ids: Objects to step; None for all.
            gather: What else the host wants to know of the frame; it is read where objects are
                stepped.

        Raises:
            NotFiniteError: The model gave numbers that are not finite; nothing was remembered.
        """
        memories = self._state.memories
        objects = {i: memories[i] for i in (memories if ids is None else ids)}
        results: dict[int, ObjectMask] = {}
        stepped: list[int] = []
        resting: list[int] = []
        for obj_id, memory in objects.items():
            self._state.settle(memory, frame_index)
            if frame_index in memory.conditioning and frame_index in memory.results:
                results[obj_id] = memory.results[frame_index]
            elif ids is None and memory.last and _rests(memory, frame_index, self._calm):
                results[obj_id] = memory.last
                resting.append(obj_id)
            else:
                stepped.append(obj_id)
        if stepped:
            some = [objects[i] for i in stepped]
            found = self._step(frame_index, features, some, gather or Gather())
            results |= dict(zip(stepped, found, strict=True))
        for obj_id in objects.keys() - resting:
            objects[obj_id].track(frame_index)
        for obj_id, memory in objects.items():
            self._note(memory, results[obj_id])
            memory.prune(frame_index)
        if self._cleanup.non_overlap and len(stepped) < len(results):
            results = _apart(results)
        return {obj_id: results[obj_id] for obj_id in objects}

    def rewind(self, obj_id: int, frame_index: int) -> None:
        """Let an object be as if this frame and later ones had not been stepped."""
        memory = self._state.memories[obj_id]
        self._state.settle(memory, frame_index)
        memory.rewind(frame_index)
        self._state.bring_back(memory, frame_index)

    @property
    def _calm(self) -> Calm | None:
        return self._state.savings.calm

    def _note(self, memory: Memory, result: ObjectMask) -> None:
        if self._calm and memory.last is not None and memory.last is not result:
            union = np.logical_or(memory.last.mask, result.mask).sum()
            common = np.logical_and(memory.last.mask, result.mask).sum()
            memory.steadiness = float(common / union) if union else 0.0
        memory.last = result

    def _step(
        self, frame_index: int, features: Features, objects: list[Memory], gather: Gather
    ) -> list[ObjectMask]:
        crops = self._choose(objects)
        out = self._decode(frame_index, features, objects, crops)
        if not self._gathered:
            _require_finite(frame_index, out)
        kept = replace(out, low=cleaning.apply(out.low, self._remembered))
        raw = self._state.encoder(features, kept, prompted=False, crops=crops)
        shown = kept
        if self._cleanup.fill_holes_px or self._cleanup.drop_specks_px:
            shown = replace(out, low=cleaning.apply(out.low, self._cleanup))
        if not self._gathered:
            self._state.remember(frame_index, objects, kept, raw)
            return [as_mask(shown, row) for row in range(len(objects))]
        gather.add("finite", is_finite(out.low, out.scores))
        want_masks(gather, shown, features.frame_size, logits=self._cleanup.smooth > 0)
        # The one wait of a frame. Only what is known to be sound is remembered.
        found = gather.read()
        features.accept(found.get("features"))
        if not found["finite"]:
            _require_finite(frame_index, out)
        self._state.remember(frame_index, objects, kept, raw)
        return as_masks(found, shown, features.frame_size)

    # -- where objects are looked for -----------------------------------------------------------

    def _choose(self, objects: list[Memory]) -> list[Crop | None]:
        window = self._state.savings.window
        if window is None:
            return [None] * len(objects)
        crops: list[Crop | None] = []
        for memory in objects:
            last = memory.last
            box = mask_boxes(last.mask[None])[0] if last and last.object_score > 0 else None
            crops.append(
                box
                and choose_crop(
                    (box[0] / SCALE, box[1] / SCALE, box[2] / SCALE, box[3] / SCALE),
                    self._state.grid,
                    window.margin,
                    window.least_tokens,
                    self._state.window_sizes,
                )
            )
        return crops

    def _decode(
        self,
        frame_index: int,
        features: Features,
        objects: list[Memory],
        crops: list[Crop | None],
    ) -> Decoded:
        """Decode all objects; `crops` becomes None for those not found in their window."""
        out = self._decode_in(frame_index, features, objects, crops)
        window = self._state.savings.window
        if window is None or not any(crops):
            return out
        lost = _lost(out, crops, window)
        if lost:
            for row in lost:
                crops[row] = None
            again = self._decode_in(
                frame_index, features, [objects[i] for i in lost], [None] * len(lost)
            )
            at = on_device(lost, out.low.device)
            for name in ("low", "ious", "pointers", "scores"):
                getattr(out, name)[at] = getattr(again, name)
        return out

    def _decode_in(
        self,
        frame_index: int,
        features: Features,
        objects: list[Memory],
        crops: list[Crop | None],
    ) -> Decoded:
        """Decode objects in groups that attend to equally much; pointers are padded."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, (memory, crop) in enumerate(zip(objects, crops, strict=True)):
            mixed = self._state.mixed_lengths
            spatial = 0 if mixed else len(memory.attended(frame_index).spatial)
            groups[crop.side if crop else 0, spatial].append(row)
        parts, order = [], []
        for (side, _), rows in groups.items():
            some = [crop for row in rows if (crop := crops[row])] if side else None
            pix = self._state.attend(frame_index, features, [objects[i] for i in rows], some)
            parts.append(self._state.heads.track(pix, features, some))
            order += rows
        if len(parts) == 1:
            return parts[0]
        back = sorted(range(len(order)), key=order.__getitem__)
        return Decoded.cat(parts)[on_device(back, features.top.device)]


def _require_finite(frame_index: int, out: Decoded) -> None:
    check_finite(f"the logits of frame {frame_index}", out.low)
    check_finite(f"the object scores of frame {frame_index}", out.scores)


def _apart(results: dict[int, ObjectMask]) -> dict[int, ObjectMask]:
    """Show each pixel in one mask only, also in those that were not stepped in this frame."""
    stacked = torch.from_numpy(np.stack([result.logits for result in results.values()]))
    logits = cleaning.exclusive(stacked).numpy()
    return {
        obj_id: result.with_logits(logits[row])
        for row, (obj_id, result) in enumerate(results.items())
    }


def _rests(memory: Memory, frame_index: int, calm: Calm | None) -> bool:
    """Return whether a calm object is left alone in this frame; neighbours take turns."""
    if calm is None or memory.last is None or memory.last.object_score <= 0:
        return False
    return memory.steadiness >= calm.min_iou and (frame_index + memory.slot) % calm.every != 0


def _lost(out: Decoded, crops: list[Crop | None], window: Window) -> list[int]:
    """Return the objects that were not found well inside of their windows."""
    found = download({"inside": out.low > 0, "scores": out.scores, "ious": out.ious})
    boxes, scores, ious = mask_boxes(found["inside"]), found["scores"], found["ious"]
    return [
        row
        for row, crop in enumerate(crops)
        if crop is not None
        and (
            scores[row] <= window.min_score
            or ious[row] < window.min_iou
            or (box := boxes[row]) is None
            or leaves(box, crop, SCALE)
        )
    ]
