"""What `compare_sam2.py` compares: the two trackers behind one face, and what both are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Protocol
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from compare_engines import engines_of
from PIL import Image
from sam2 import sam2_video_predictor as official
from sam2.build_sam import build_sam2_video_predictor

from engines.images import IMAGENET_MEAN, IMAGENET_STD, to_input
from engines.objects import Prompt
from engines.registry import load_sam2
from engines.tracker import Tracker
from stream.errors import UsageError
from stream.sources.images import list_images, read_image
from stream.synth import MAX_OBJECTS, CellFilmSpec, draw_frames

CONFIGS = {
    "sam2.1-tiny": "sam2.1_hiera_t",
    "sam2.1-small": "sam2.1_hiera_s",
    "sam2.1-base-plus": "sam2.1_hiera_b+",
    "sam2.1-large": "sam2.1_hiera_l",
}
PRECISIONS = ("fp32", "bf16")
PROMPTS = ("box", "click", "mask")
# Random weights of these layers are multiplied so that logits spread as a trained model's do.
LIVENED = {
    "memory_attention.layers.*.[qk]_proj.weight": 2.0,
    "memory_attention.layers.*.v_proj.weight": 3.0,
    "memory_attention.layers.*.out_proj.weight": 3.0,
    "memory_encoder.*weight": 2.0,
    "sam_mask_decoder.transformer.*_proj.weight": 2.0,
    "sam_mask_decoder.output_upscaling*weight": 3.0,
    "sam_mask_decoder.output_hypernetworks_mlps*weight": 2.0,
}
# The predictor takes fewer pointers from a clip that is shorter than its bank; a stream has no end.
NO_END = 10**9

Pixels = npt.NDArray[np.uint8]
Region = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """What is compared."""

    model: str = "sam2.1-tiny"
    weights: str = "random:0"
    image_size: int = 512
    frames: int = 20
    threads: int = 2
    precision: str = "fp32"
    official_precision: str = "fp32"
    prompt: str = "box"
    source: str | None = None
    backend: str = "torch"
    device: str = "cpu"
    vos_optimized: bool = False
    """The official predictor compiled, as `build_sam2_video_predictor(vos_optimized=True)`."""

    def settle(self) -> None:
        """Wait until the device has done what it was asked to do, so that a time means it."""
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)


class Side(Protocol):
    """One of the two; objects are numbered from 0."""

    def prompt(self, prompts: Sequence[Prompt]) -> None:
        """Encode frame 0 and prompt every object in it."""

    def encode(self, index: int) -> None:
        """Run the image encoder on a frame."""

    def track(self, index: int) -> list[npt.NDArray[np.float32]]:
        """Return the (h, w) logits of every object in the frame that was encoded."""


class OfficialSide:
    """`SAM2VideoPredictor`, as `build_sam2_video_predictor` makes it but for filled holes.

    Args:
        model: A `SAM2Base`; its weights are shared.
        plan: What is compared.
        film: All frames, (S, S, 3) uint8.
    """

    def __init__(self, model: Any, plan: Plan, film: Sequence[Pixels]) -> None:
        side = plan.image_size // 16
        self._predictor = build_sam2_video_predictor(
            f"configs/sam2.1/{CONFIGS[plan.model]}.yaml",
            device=plan.device,
            vos_optimized=plan.vos_optimized,
            hydra_overrides_extra=[
                f"++model.image_size={plan.image_size}",
                *(
                    f"++model.memory_attention.layer.{kind}_attention.feat_sizes=[{side},{side}]"
                    for kind in ("self", "cross")
                ),
            ],
        )
        self._predictor.fill_hole_area = 0
        self._predictor.load_state_dict(model.state_dict(), assign=True)
        low = plan.official_precision == "bf16"
        kind = torch.device(plan.device).type
        self._cast = lambda: torch.autocast(kind, torch.bfloat16) if low else nullcontext()
        self._device = plan.device
        self._film = film
        self._state: dict[str, Any] = {}

    @torch.inference_mode()
    def prompt(self, prompts: Sequence[Prompt]) -> None:
        """Encode frame 0 and prompt every object in it."""
        side, cpu = self._film[0].shape[0], torch.device("cpu")
        planes = [to_input(f, (side, side), IMAGENET_MEAN, IMAGENET_STD, cpu) for f in self._film]
        clip = torch.cat(planes).to(self._device)
        del planes
        # The predictor reads films from disk only.
        loaded = mock.patch.object(official, "load_video_frames", return_value=(clip, side, side))
        with self._cast(), loaded:
            self._state = self._predictor.init_state("")
            for number, prompt in enumerate(prompts):
                self._prompt(number, prompt)
        self._state["num_frames"] = NO_END
        # Its masks stay as large as the logits, as the tracker's.
        self._state["video_height"] = self._state["video_width"] = side // 4

    def _prompt(self, number: int, prompt: Prompt) -> None:
        if prompt.mask is not None:
            self._predictor.add_new_mask(self._state, 0, number, prompt.mask)
            return
        self._predictor.add_new_points_or_box(
            self._state,
            0,
            number,
            points=list(prompt.points) or None,
            labels=list(prompt.labels) or None,
            box=prompt.box,
        )

    @torch.inference_mode()
    def encode(self, index: int) -> None:
        """Run the image encoder on a frame."""
        with self._cast():
            self._predictor._get_image_feature(self._state, index, 1)

    def track(self, index: int) -> list[npt.NDArray[np.float32]]:
        """Return the (h, w) logits of every object in the frame that was encoded."""
        quiet = mock.patch.object(official, "tqdm", lambda order, **_: order)
        with self._cast(), quiet:
            _, _, logits = next(self._predictor.propagate_in_video(self._state, index, 0))
        return list(logits[:, 0].float().cpu().numpy())


class MaskcastSide:
    """`engines.tracker.Tracker`; takes what `OfficialSide` takes."""

    def __init__(self, model: Any, plan: Plan, film: Sequence[Pixels]) -> None:
        engines = engines_of(model, plan.backend, plan.precision)
        self._tracker = Tracker(
            model, precision=plan.precision, device=plan.device, engines=engines
        )
        self._tracker.warm_up()
        self._film = film
        self._features: Any = None

    def prompt(self, prompts: Sequence[Prompt]) -> None:
        """Encode frame 0 and prompt every object in it."""
        self.encode(0)
        self._tracker.add_objects(0, self._features, dict(enumerate(prompts)))

    def encode(self, index: int) -> None:
        """Run the image encoder on a frame."""
        self._features = self._tracker.encode(self._film[index])

    def track(self, index: int) -> list[npt.NDArray[np.float32]]:
        """Return the (h, w) logits of every object in the frame that was encoded."""
        found = self._tracker.step(index, self._features)
        return [found[number].logits for number in sorted(found)]


SIDES: dict[str, Callable[[Any, Plan, Sequence[Pixels]], Side]] = {
    "official": OfficialSide,
    "maskcast": MaskcastSide,
}


# -- what both are given ---------------------------------------------------------------------------


def load_model(plan: Plan) -> Any:
    """Load the weights; random ones are changed so that prompts and memories show in the masks."""
    loaded = load_sam2(plan.model, plan.weights, plan.image_size)
    if loaded.random:
        _liven(loaded.model)
    return loaded.model.to(plan.device)


@torch.no_grad()
def _liven(model: Any) -> None:
    """Make up for what training does: as initialised, all objects get the same mask."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.no_obj_ptr.normal_()
        model.maskmem_tpos_enc.normal_()
    model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(3.0)
    for name, parameter in model.named_parameters():
        if fnmatch(name, "memory_encoder.fuser.layers.*.gamma"):
            parameter.fill_(0.3)
        for pattern, factor in LIVENED.items():
            if fnmatch(name, pattern):
                parameter *= factor


def load_film(plan: Plan, objects: int) -> tuple[list[Pixels], list[Region]]:
    """Return the frames, square and of the model's size, and regions for prompts in the first.

    Raises:
        UsageError: There are too few pictures, or too few objects in the drawn film.
    """
    side = plan.image_size
    if plan.source is not None:
        return _pictures(plan.source, side, plan.frames), _grid(side, objects)
    drawn = draw_frames(
        CellFilmSpec(objects=min(objects + 4, MAX_OBJECTS), width=side, height=side, fps=10.0),
        plan.frames,
    )
    ids, areas = np.unique(drawn[0].ids, return_counts=True)
    largest = sorted(zip(areas[ids > 0].tolist(), ids[ids > 0].tolist(), strict=True))[::-1]
    if len(largest) < objects:
        raise UsageError(
            f"--objects {objects}: the drawn film shows {len(largest)} at {side} px; ask for fewer "
            "or for a larger --image-size"
        )
    return [f.image for f in drawn], [drawn[0].ids == i for _, i in largest[:objects]]


def _pictures(source: str, side: int, frames: int) -> list[Pixels]:
    paths = list_images(source)
    if len(paths) < frames:
        raise UsageError(
            f"{source}: holds {len(paths)} pictures, --frames is {frames}; ask for fewer"
        )
    film = []
    for path in paths[:frames]:
        pixels = read_image(path)
        if pixels.dtype != np.uint8:
            raise UsageError(
                f"{path}: pixels are {pixels.dtype}; accepted is uint8: convert it first"
            )
        film.append(np.asarray(Image.fromarray(pixels).convert("RGB").resize((side, side))))
    return film


def _grid(side: int, objects: int) -> list[Region]:
    """Rectangles spread evenly over a picture of which nothing is known."""
    columns = int(np.ceil(objects**0.5))
    cell = side / columns
    regions = []
    for number in range(objects):
        y, x = (np.array(divmod(number, columns)) + 0.2) * cell
        region = np.zeros((side, side), dtype=np.bool_)
        region[int(y) : int(y + 0.6 * cell), int(x) : int(x + 0.6 * cell)] = True
        regions.append(region)
    return regions


def make_prompt(region: Region, kind: str) -> Prompt:
    """Return the box of a region, a click on it or the region itself."""
    if kind == "mask":
        return Prompt(mask=region)
    ys, xs = np.nonzero(region)
    if kind == "box":
        return Prompt(box=(float(xs.min()), float(ys.min()), xs.max() + 1.0, ys.max() + 1.0))
    inner = len(xs) // 2
    return Prompt(points=[(float(xs[inner]), float(ys[inner]))], labels=[1])
