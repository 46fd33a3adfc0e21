"""The loops that `compare_loops.py` compares with a run of ours."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from importlib import resources
from typing import Any
from unittest import mock

from stream.bench.parts import BenchParts, StandInDetector, StandInTracker
from stream.bench.samples import Run, Sample
from stream.config import Config
from stream.contracts import DetectionJob, DetectorClient, Question, TrackerCore
from stream.errors import UsageError
from stream.frame import Frame, Masks, TrackedObject, crop_mask
from stream.offline.clients import InlineDetector
from stream.question import question_of
from stream.report import Report
from stream.sinks.overlay import draw_overlay
from stream.sources import open_source

BUSY = "MASKCAST_BUSY_MS"

Step = Callable[[Frame], Masks]


class BusyTracker(StandInTracker):
    """Sleeps where models would compute."""

    def step(self, frame: Frame, detector: DetectorClient) -> Masks:
        """Sleep, then do as a stand-in does."""
        time.sleep(float(os.environ.get(BUSY, "0")) / 1e3)
        return super().step(frame, detector)


class BusyParts(BenchParts):
    """What the stages carry where the speed of the models is to be known."""

    def __init__(self) -> None:
        super().__init__(models=False)

    def tracker(self, config: Config) -> TrackerCore:
        """Make the tracker's core."""
        return BusyTracker(config.detector.every_n_frames)


BUSY_PARTS = BusyParts()


def plain_step(config: Config, busy: bool) -> Step:
    """Detect and track in one thread, with our models."""
    if busy:
        tracker: Any = BusyTracker(config.detector.every_n_frames)
        detector: Any = StandInDetector()
    else:
        from stream.core import make_detector_core, make_tracker_core

        tracker, detector = make_tracker_core(config), make_detector_core(config)
    tracker.prepare()
    detector.prepare()
    tracker.live = False
    inline = InlineDetector(detector)
    return lambda frame: tracker.step(frame, inline)


class Newest:
    """The predictor's images: whichever it asks for, it is the newest."""

    def __init__(self, image: Any) -> None:
        self.image = image

    def __getitem__(self, index: int) -> Any:
        return self.image

    def __len__(self) -> int:
        return 1


def official_step(config: Config) -> Step:
    """Feed the official predictor frame by frame."""
    import torch
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from sam2 import sam2_video_predictor as official

    from engines.features import Features
    from engines.images import IMAGENET_MEAN, IMAGENET_STD, to_input
    from engines.precision import choose_precision
    from engines.registry import load_sam2, load_tracker
    from stream.core import make_detector_core

    if config.tracker.model != "micro":
        raise UsageError(f"official: model {config.tracker.model} is not built here; give micro")
    text = resources.files("engines").joinpath("configs", "micro.yaml").read_text("utf-8")
    plan = OmegaConf.create(text).model
    plan._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    predictor = instantiate(plan, _recursive_=True).eval()
    predictor.load_state_dict(load_sam2("micro", config.tracker.weights).model.state_dict())
    low = choose_precision(config.tracker.precision, "cpu") == "bf16"
    side, cpu = predictor.image_size, torch.device("cpu")
    tracker = load_tracker("micro", weights=config.tracker.weights)
    detector = make_detector_core(config)
    detector.prepare()
    images = Newest(torch.zeros(1, 3, side, side))
    with mock.patch.object(official, "load_video_frames", return_value=(images.image, side, side)):
        state = predictor.init_state("")
    state["images"], state["num_frames"] = images, 10**9

    def find(frame: Frame) -> list[Any]:
        features: Features = tracker.encode(frame.rgb)
        question = question_of(config)
        job = DetectionJob(0, 0, frame.rgb, features.to_arrays(), Question(question.texts))
        return [torch.from_numpy(found.mask) for found in detector.detect(job).detections]

    @torch.inference_mode()
    def step(frame: Frame) -> Masks:
        state["video_height"], state["video_width"] = frame.size
        plane = to_input(frame.rgb, (side, side), IMAGENET_MEAN, IMAGENET_STD, cpu)
        images.image = plane[0]
        objects: list[TrackedObject] = []
        quiet = mock.patch.object(official, "tqdm", lambda order, **_: order)
        prompts = [] if state["obj_ids"] else find(frame)
        with torch.autocast("cpu", torch.bfloat16, enabled=low), quiet:
            for number, mask in enumerate(prompts):
                predictor.add_new_mask(state, frame.index, number, mask)
            if state["obj_ids"]:
                _, ids, logits = next(predictor.propagate_in_video(state, frame.index, 0))
                objects = [_object(number, one) for number, one in zip(ids, logits, strict=True)]
        return Masks(
            frame.index, frame.size, frame.pts_s, frame.captured_ns, tuple(objects), frame.stamps
        )

    return step


def _object(number: int, logits: Any) -> TrackedObject:
    mask, box = crop_mask((logits[0] > 0).numpy())
    return TrackedObject(number + 1, "cell", 1.0, "confirmed", mask, box, int(mask.sum()))


def loop(config: Config, step: Step) -> Run:
    """Read, step, draw; until the time is up."""
    source = open_source(config.source)
    source.open()
    step(_first(config))  # what is loaded and compiled on the first call is not latency
    samples: list[Sample] = []
    stop = threading.Event()
    until = time.monotonic() + (config.seconds or 15.0)
    while time.monotonic() < until:
        frame = source.read(stop)
        if not isinstance(frame, Frame):
            break
        frame.stamps["taken"] = time.monotonic_ns()
        masks = step(frame)
        stamps = dict(frame.stamps) | {"tracked": time.monotonic_ns()}
        draw_overlay(frame.rgb, masks)
        stamps["delivered"] = time.monotonic_ns()
        samples.append(Sample(frame.index, frame.captured_ns, stamps, {}, len(masks.objects)))
    source.close()
    return Run(samples, source.fps, source.live, Report())


def _first(config: Config) -> Frame:
    source = open_source(config.source)
    source.open()
    frame = source.read(threading.Event())
    source.close()
    assert isinstance(frame, Frame)
    return frame
