"""The streaming tracker: SAM2's own modules, a predictor of ours around them.

The official predictor loads a whole clip, keeps every output and steps object by object. This one
takes frames as they come, keeps a bounded memory per object in preallocated slots, steps all
objects together, and takes prompts for frames gone by. Its results are the same. Paper: SAM 2, Ravi
et al. 2024, arXiv 2408.00714.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engines.continuity import Continuity, Event, OrderError, joined
from engines.device_clock import on_card
from engines.encoding import Encoding
from engines.engine_folder import Engines
from engines.features import Features
from engines.lanes import Lane
from engines.late import CatchUp, FeatureRing
from engines.objects import ObjectMask, Prompt
from engines.precision import PRECISIONS, choose_precision
from engines.prompting import Prompting
from engines.settings import Cleanup, Limits, Savings
from engines.similarity import Signature, describe
from engines.smoothing import Smoother
from engines.state import State
from engines.stepping import Stepping
from engines.transfer import Gather


class Tracker:
    """Tracks objects through frames that come one by one.

    `frame_index` counts the frames given to the tracker; one that was dropped before the tracker
    has no index here, or leaves a gap.
    """

    def __init__(
        self,
        model: Any,
        *,
        precision: str = "fp32",
        device: str = "cpu",
        rendered_prompts: bool = False,
        limits: Limits | None = None,
        savings: Savings | None = None,
        cleanup: Cleanup | None = None,
        correct_as_conditioning: bool = True,
        engines: Engines | None = None,
        gathered: bool | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: A `SAM2Base` in eval mode.
            precision: `fp32`, `bf16`, `fp16` or `auto`; below fp32 the modules run under autocast.
            device: A torch device.
            rendered_prompts: Whether the model wants prompts drawn as well (`engines.prompts`).
            limits: How much is remembered; None for what SAM2.1 attends to.
            savings: What is left out for speed; None for nothing.
            cleanup: What is done to masks after the model; None for nothing.
            correct_as_conditioning: Whether a prompt on a frame that was tracked already makes it a
                conditioning frame (`add_all_frames_to_correct_as_cond`).
            engines: Exported networks, in precisions of their own; None to run the model's own
                modules.
            gathered: Whether what the host has to know of a frame comes in one download at the end
                of its step, which it waits for once; None: on a card. Numbers that are not finite
                are then noticed in `step`, and masks come as bits (`engines.device_mask`).

        Raises:
            ValueError: An unknown precision, or savings that exported networks do not know.
        """
        self.precision = choose_precision(precision, device)
        self.engines = engines or Engines("torch", None, "", {})
        self._runners = self.engines.runners
        if self._runners is not None:
            # What is left to torch is small; half precision would gain nothing there.
            self.precision = "fp32"
        self.device = torch.device(device)
        self.rendered_prompts = rendered_prompts
        dtype = PRECISIONS[self.precision]
        self._autocast = partial(
            torch.autocast, self.device.type, dtype=dtype, enabled=dtype != torch.float32
        )
        cleanup = cleanup or Cleanup()
        self._gathered = on_card(self.device) if gathered is None else gathered
        model = model.to(self.device).eval()
        self._tracking = Lane(self.device, "high")
        with self._tracking():
            self._state = State(
                model,
                self._autocast,
                dtype,
                limits or Limits(),
                savings or Savings(),
                self._runners,
                blind=self._gathered,
            )
        self.model = self._state.model
        self._encoding = Encoding(
            self.model, self._autocast, self.device, self._runners, asks=not self._gathered
        )
        self._encoding.lane.follow(self._tracking.mark())
        self._stepping = Stepping(self._state, cleanup, gathered=self._gathered)
        self._prompting = Prompting(
            self._state, rendered=rendered_prompts, as_conditioning=correct_as_conditioning
        )
        self._ring = FeatureRing(self._state.layout.limits.late_frames)
        self._continuity = Continuity(gap_frames=self._state.layout.limits.lookback)
        self._smoother = Smoother(cleanup.smooth) if cleanup.smooth else None
        self._results: dict[int, ObjectMask] = {}
        self._events: list[Event] = []
        self.last_frame: int | None = None

    @property
    def image_size(self) -> int:
        """Side of the square model input in pixels."""
        return int(self.model.image_size)

    @property
    def object_ids(self) -> list[int]:
        """Ids of the objects that are tracked."""
        return list(self._state.memories)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the slots of all objects take, used or not."""
        return self._state.bank.nbytes

    @torch.inference_mode()
    def encode(self, image: npt.NDArray[np.uint8]) -> Features:
        """Run the image encoder, once a frame.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            The features; where results are gathered, without waiting for them.

        Raises:
            ModelError: The features are not finite; where results are gathered, `step` says so.
        """
        return self._encoding(image)

    def prepare(self, features: Features) -> None:
        """Make what the step of a frame needs whatever its objects are; else the step makes it.

        Another thread may do this while the frame before is stepped; not on a card.
        """
        self._state.prepare(features)

    def encoded_ns(self, features: Features) -> int | None:
        """Return when features were there (`time.monotonic_ns`); None where it is not known yet."""
        return None if features.ready is None else self._encoding.lane.reached_ns(features.ready)

    def warm_up(self) -> None:
        """Run once what a live stream will run, and forget it; before any frame.

        Kernels and graphs are made at their first use: exported networks for each number of objects
        that is computed at once.
        """
        image = np.zeros((64, 64, 3), dtype=np.uint8)
        features = self.encode(image)
        if self._runners is not None:
            with self._read(features):
                self._state.warm_up(features)
        self.add_object(0, 0, features, box=(8.0, 8.0, 40.0, 40.0))
        for step in range(3):
            self.step(step, features)
        self.reset()
        self.events()

    def features(self, frame_index: int) -> Features:
        """Return the features of a frame gone by.

        Raises:
            TooLateError: The frame is not kept any more.
        """
        return self._ring.get(frame_index)

    def add_object(
        self,
        obj_id: int,
        frame_index: int,
        features: Features | None = None,
        *,
        box: tuple[float, float, float, float] | None = None,
        points: Sequence[tuple[float, float]] | None = None,
        labels: Sequence[int] | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
        clear_old_points: bool = True,
        catch_up: CatchUp = "jump",
    ) -> ObjectMask:
        """Prompt an object in this frame or in one gone by; a live object is corrected.

        Args:
            obj_id: Id of the object; an unknown one is added.
            frame_index: Index of the frame that the prompt is about.
            features: That frame's features; None for those that are kept of it.
            box: x0, y0, x1, y1 in frame pixels.
            points: (x, y) in frame pixels.
            labels: 1 or 0 for each point.
            mask: (h, w) bool covering the whole frame.
            clear_old_points: Whether earlier points on this frame are forgotten.
            catch_up: What is done about the frames since then (`engines.late.CatchUp`).

        Returns:
            The mask in that frame, which is now the object's memory of it.

        Raises:
            TooLateError: The frame, or for a replay one of those after it, is not kept any more.
            ValueError: The prompt contradicts itself.
        """
        prompt = Prompt(mask, box, tuple(points or ()), tuple(labels or ()))
        return self.add_objects(
            frame_index,
            features,
            {obj_id: prompt},
            clear_old_points=clear_old_points,
            catch_up=catch_up,
        )[obj_id]

    @torch.inference_mode()
    def add_objects(
        self,
        frame_index: int,
        features: Features | None,
        prompts: dict[int, Prompt],
        *,
        clear_old_points: bool = True,
        catch_up: CatchUp = "jump",
    ) -> dict[int, ObjectMask]:
        """Prompt several objects in one frame; see `add_object`."""
        if catch_up not in ("jump", "replay"):
            raise ValueError(f"catch_up is {catch_up!r}; accepted are 'jump' and 'replay'")
        if features is None:
            features = self._ring.get(frame_index)
        features.check()
        late = self.last_frame is not None and frame_index < self.last_frame
        replayed = self._ring.since(frame_index) if late and catch_up == "replay" else []
        with self._read(features):
            results = self._prompting(
                frame_index,
                features,
                prompts,
                clear_old_points=clear_old_points,
            )
            if replayed:
                for obj_id in prompts:
                    self._stepping.rewind(obj_id, frame_index + 1)
                for index, frame in replayed:
                    self._results |= self._stepping(index, frame, list(prompts))
                    frame.made.clear()
        if self.last_frame is not None and frame_index <= self.last_frame:
            features.made.clear()  # that frame is stepped no more
        return results

    @torch.inference_mode()
    def step(self, frame_index: int, features: Features) -> dict[int, ObjectMask]:
        """Find every object in the next frame and remember it.

        Args:
            frame_index: One more than at the last call, or more where frames were lost.
            features: The frame's features.

        Returns:
            The mask of each object by id; of an object prompted in this very frame, the prompt's.
            For the same index again, the same result again. Nothing where frames have other
            proportions than before: objects cannot be followed there (`events` says so).

        Raises:
            OrderError: Time runs backwards.
            NotFiniteError: The model gave numbers that are not finite; nothing was remembered.
        """
        if features.finite is None:
            features.check()
        try:
            event = self._continuity.check(frame_index, features.frame_size)
        except OrderError as error:
            self._events.append(error.event)
            raise
        if event is not None and event.kind == "repeat" and frame_index != self.last_frame:
            event = None  # the frame was refused at its first try
        if event is not None:
            self._events.append(event)
            if event.kind == "repeat":
                return dict(self._results)
            if event.starts_anew:
                self._forget(all_but_prompted_in=frame_index)
        try:
            with self._read(features):
                gather = self._wanted(features)
                results = self._stepping(frame_index, features, gather=gather)
                found = gather.read()
        finally:
            features.made.clear()
        features.accept(found.get("features"))
        self._see(event, found["looks"])
        self._ring.put(frame_index, features)
        self.last_frame = frame_index
        if self._smoother:
            results = {i: self._smoother(i, result) for i, result in results.items()}
        self._results = results
        return dict(results)

    @contextmanager
    def _read(self, features: Features) -> Iterator[None]:
        """Work in the tracker's lane, on features that are there when it comes to them."""
        self._tracking.follow(features.ready, features.tensors())
        with self._tracking():
            yield

    def _wanted(self, features: Features) -> Gather:
        """Return what the host wants to know of any frame, whoever is tracked."""
        gather = Gather()
        gather.add("looks", describe(features.top))
        if features.finite is not None and not features.checked:
            gather.add("features", features.finite)
        return gather

    def _see(self, event: Event | None, looks: Signature) -> None:
        """Notice a cut; one event a frame names all that happened in it."""
        both = joined(event, self._continuity.see(looks))
        if both is None or both is event:
            return
        if event is not None:
            self._events.pop()
        self._events.append(both)

    def remove_object(self, obj_id: int) -> None:
        """Forget an object; an unknown id is not an error."""
        self._state.remove(obj_id)
        self._results.pop(obj_id, None)
        if self._smoother:
            self._smoother.forget(obj_id)

    def reset(self) -> None:
        """Forget all objects and frames; a new stream may begin."""
        self._forget()
        self._continuity.reset()
        self.last_frame = None

    def _forget(self, all_but_prompted_in: int | None = None) -> None:
        """Forget objects and frames; an object that began in the named frame stays."""
        for obj_id, memory in list(self._state.memories.items()):
            if {*memory.conditioning, *memory.pending} != {all_but_prompted_in}:
                self.remove_object(obj_id)
        self._ring.clear()
        self._results.clear()

    def events(self) -> list[Event]:
        """Return what happened to the stream since the last call."""
        events, self._events = self._events, []
        return events
