"""The official predictor, with random weights that let every path show in its masks.

A network as it is initialised hides most of what a tracker can get wrong: what memories add is tiny
beside the features that it is added to, the codes of time are all but zero, one of the mask tokens
always wins, no object ever vanishes. `make_sensitive` scales each part until it matters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from hydra.utils import instantiate

from engines.build import _override_image_size, _sam2_config
from engines.images import IMAGENET_MEAN, IMAGENET_STD
from engines.objects import Prompt

# The predictor takes fewer pointers from a clip that is shorter than its bank; a stream has no end.
NO_END = 10_000

# Standard deviation that the output of a layer is scaled to when it first runs.
_SPREADS = {
    "memory_attention.layers.*.self_attn.[qk]_proj": 1.2,
    "memory_attention.layers.*.self_attn.out_proj": 0.5,
    "memory_attention.layers.*.cross_attn_image.[qk]_proj": 1.0,
    "memory_attention.layers.*.cross_attn_image.out_proj": 0.3,
    "memory_attention.layers.*.linear2": 0.5,
    "memory_encoder.pix_feat_proj": 1.0,
    "memory_encoder.mask_downsampler.encoder.12": 0.5,
    "memory_encoder.fuser.layers.*.pwconv2": 1.0,
    "memory_encoder.out_proj": 1.0,
    "obj_ptr_proj.layers.2": 3.0,
    "obj_ptr_tpos_proj": 3.0,
    "mask_downsample": 1.0,
    "sam_prompt_encoder.mask_downscaling.6": 1.0,
    "sam_mask_decoder.transformer.*cross_attn_*.out_proj": 1.0,
    "sam_mask_decoder.transformer.final_attn_token_to_image.out_proj": 1.0,
    "sam_mask_decoder.output_upscaling.[03]": 1.0,
}
# The first mask token's is what makes a single mask now stable (0.98) and now not.
_LOGIT_SPREADS = (4.0, 6.0, 6.0, 6.0)
_SCORE = 4.0

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Result:
    """What one frame gave for one object."""

    logits: torch.Tensor
    """(h, w)."""
    iou: float
    object_score: float
    pointer: torch.Tensor
    """(C,)."""


def to_planes(image: Frame) -> torch.Tensor:
    """(3, H, W) as `load_video_frames` normalises a frame."""
    planes = torch.from_numpy(image).permute(2, 0, 1) / 255.0
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return (planes - mean[:, None, None]) / std[:, None, None]


def build_official(name: str, image_size: int, seed: int = 0) -> Any:
    """Return the predictor as `build_sam2_video_predictor` makes it, but no holes are filled."""
    config = _sam2_config(name)
    _override_image_size(config, image_size)
    config._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    config.sam_mask_decoder_extra_args = {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }
    config.binarize_mask_from_pts_for_mem_enc = True
    config.fill_hole_area = 0
    config.add_all_frames_to_correct_as_cond = True
    torch.manual_seed(seed)
    return instantiate(config, _recursive_=True).eval()


@torch.inference_mode()
def encode(predictor: Any, frames: Sequence[Frame]) -> dict[int, Any]:
    """Run the predictor's encoder over frames, in the form of its cache."""
    planes = [to_planes(frame)[None] for frame in frames]
    return {i: (image, predictor.forward_image(image)) for i, image in enumerate(planes)}


class Official:
    """One object in the official predictor, which is given frames as arrays."""

    def __init__(self, predictor: Any, encoded: dict[int, Any]) -> None:
        """Take a predictor and frame index -> (planes, what `forward_image` gave)."""
        self._predictor = predictor
        self._ious: dict[int, float] = {}
        planes = next(iter(encoded.values()))[0][0]
        self.state = self._empty_state(planes)
        self.state["cached_features"] = encoded

    def _empty_state(self, planes: torch.Tensor) -> dict[str, Any]:
        """Let the predictor make its state of one frame."""
        import sam2.sam2_video_predictor as module

        load = module.load_video_frames
        module.load_video_frames = lambda **_: (planes[None], *planes.shape[-2:])
        encode = self._predictor._get_image_feature
        self._predictor._get_image_feature = lambda *_, **__: None
        try:
            state: dict[str, Any] = self._predictor.init_state("")
        finally:
            module.load_video_frames = load
            del self._predictor._get_image_feature
        assert encode == self._predictor._get_image_feature
        state["num_frames"] = NO_END
        return state

    def prompt(self, index: int, prompt: Prompt, *, clear_old_points: bool = True) -> Result:
        """Prompt in a frame, as `Tracker.add_object`."""
        with noting_ious(self._predictor, self._ious):
            if prompt.mask is not None:
                self._predictor.add_new_mask(self.state, index, 1, prompt.mask)
            else:
                self._predictor.add_new_points_or_box(
                    self.state,
                    index,
                    1,
                    points=list(prompt.points) or None,
                    labels=list(prompt.labels) or None,
                    box=prompt.box,
                    clear_old_points=clear_old_points,
                )
        return self._result(self.state["temp_output_dict_per_obj"][0], index)

    def propagate(self, first: int, last: int) -> list[Result]:
        """Track frames `first` to `last`."""
        with noting_ious(self._predictor, self._ious):
            for _ in self._predictor.propagate_in_video(self.state, first, last - first):
                pass
        return [self.result(index) for index in range(first, last + 1)]

    def result(self, index: int) -> Result:
        """What is stored of a frame."""
        return self._result(self.state["output_dict_per_obj"][0], index)

    def _result(self, outputs: dict[str, Any], index: int) -> Result:
        out = (outputs["cond_frame_outputs"] | outputs["non_cond_frame_outputs"])[index]
        return Result(
            out["pred_masks"][0, 0],
            self._ious[index],
            out["object_score_logits"].item(),
            out["obj_ptr"][0],
        )


@contextmanager
def noting_ious(model: Any, ious: dict[int, float]) -> Iterator[None]:
    """Note the predicted IoU of the mask that is chosen in each frame, which SAM2 itself drops."""
    inner = model._track_step

    def outer(frame_idx: int, *args: Any, **kwargs: Any) -> Any:
        returned = inner(frame_idx, *args, **kwargs)
        ious[frame_idx] = returned[1][2].max().item()
        return returned

    model._track_step = outer
    try:
        yield
    finally:
        del model._track_step


# -- weights -----------------------------------------------------------------------------------


@torch.no_grad()
def make_sensitive(
    predictor: Any,
    frames: Sequence[Frame],
    covered: Collection[int],
    prompts: Sequence[Prompt],
    *,
    rounds: int = 2,
    competing: bool = True,
) -> dict[int, Any]:
    """Scale weights so that each path matters, in the manner of LSUV (Mishkin & Matas 2015).

    Args:
        predictor: Whose weights are changed.
        frames: A clip as it will be tracked.
        covered: Frames in which the object shall vanish, the first three not among them.
        prompts: A click, a box and a mask for the object in the first frame.
        rounds: How often the object score is fitted for each prompt.
        competing: Whether now one and now another of the candidate masks shall be chosen.

    Returns:
        The frames, encoded.
    """
    for name in ("maskmem_tpos_enc", "no_obj_ptr", "no_obj_embed_spatial", "no_mem_embed"):
        getattr(predictor, name).normal_()
    predictor.no_obj_ptr *= 3.0  # as large as other pointers
    for layer in predictor.memory_encoder.fuser.layers:
        layer.gamma.fill_(0.3)
    _standardise_features(predictor, frames[:2])
    predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(100.0)
    encoded = encode(predictor, frames)
    click, _, mask = prompts
    with _scaled_on_first_use(predictor):
        Official(predictor, encoded).prompt(0, click)
        _centre_masks(predictor, encoded, click)
        Official(predictor, encoded).prompt(0, mask)
        run = Official(predictor, encoded)
        run.prompt(0, click)
        run.propagate(0, 2)
    if competing:
        _let_masks_compete(predictor, encoded, click)
    _part_by_score(predictor, encoded, covered, [*prompts] * rounds)
    return encoded


@torch.no_grad()
def _standardise_features(predictor: Any, frames: Sequence[Frame]) -> None:
    """Give each channel of the three levels mean 0 and spread 1 over the frames."""
    decoder, convs = predictor.sam_mask_decoder, predictor.image_encoder.neck.convs
    # The coarsest map is added to the top level, so that both take part in its spread.
    layers = [[decoder.conv_s0], [decoder.conv_s1], [convs[1].conv, convs[0].conv]]
    encoded = encode(predictor, frames)
    for level, parts in enumerate(layers):
        maps = torch.cat([out["backbone_fpn"][level] for _, out in encoded.values()])
        spread, mean = torch.std_mean(maps, (0, 2, 3))
        parts[0].bias -= mean
        for part in parts:
            part.weight /= spread[:, None, None, None]
            part.bias /= spread


@contextmanager
def _scaled_on_first_use(predictor: Any) -> Iterator[None]:
    def scale(module: Any, _: Any, out: torch.Tensor, spread: float) -> torch.Tensor:
        handles.pop(module).remove()
        factor = spread / out.std().clamp_min(1e-6)
        module.weight *= factor
        module.bias *= factor
        return out * factor

    handles: dict[Any, Any] = {}
    for name, module in predictor.named_modules():
        for pattern, spread in _SPREADS.items():
            if fnmatch(name, pattern):
                handles[module] = module.register_forward_hook(
                    lambda *args, spread=spread: scale(*args, spread)
                )
    yield
    assert not handles, f"layers that never ran: {list(handles)}"


@torch.no_grad()
def _centre_masks(predictor: Any, encoded: dict[int, Any], click: Prompt) -> None:
    """Make about half of a mask's logits positive, and their spread `_LOGIT_SPREADS`."""
    decoder, seen = predictor.sam_mask_decoder, []
    hook = decoder.output_upscaling[4].register_forward_hook(lambda *a: seen.append(a[2]))
    Official(predictor, encoded).prompt(0, click)
    hook.remove()
    common = F.normalize(seen[0].mean((0, 2, 3)), dim=0)
    for mlp in decoder.output_hypernetworks_mlps:
        last = mlp.layers[-1]
        last.weight -= torch.outer(common, common @ last.weight)
        last.bias -= common * (common @ last.bias)
    spread = Official(predictor, encoded).prompt(0, click).logits.std()
    for mlp, wanted in zip(decoder.output_hypernetworks_mlps, _LOGIT_SPREADS, strict=True):
        mlp.layers[-1].weight *= wanted / spread
        mlp.layers[-1].bias *= wanted / spread


@torch.no_grad()
def _let_masks_compete(predictor: Any, encoded: dict[int, Any], click: Prompt) -> None:
    """Give the candidates' predicted IoUs one mean, so that now one and now another is chosen."""
    head, seen = predictor.sam_mask_decoder.iou_prediction_head.layers[-1], []
    hook = head.register_forward_hook(lambda *a: seen.append(a[2][0]))
    run = Official(predictor, encoded)
    run.prompt(0, click)
    run.propagate(0, len(encoded) - 1)
    hook.remove()
    spread, mean = torch.std_mean(torch.stack(seen), 0)
    head.weight /= spread[:, None]
    head.bias.copy_((head.bias - mean) / spread + 1.0)


@torch.no_grad()
def _part_by_score(
    predictor: Any, encoded: dict[int, Any], covered: Collection[int], prompts: Sequence[Prompt]
) -> None:
    """Fit the object score to covered frames, and to what tracking makes of them afterwards.

    What the score's last layer sees depends on scores before, so it is fitted after each run.
    """
    score, seen, wanted = predictor.sam_mask_decoder.pred_obj_score_head.layers[-1], [], []
    for prompt in prompts:
        hook = score.register_forward_hook(lambda *a: seen.append(a[1][0][0]))
        run = Official(predictor, encoded)
        run.prompt(0, prompt)
        run.propagate(0, len(encoded) - 1)
        hook.remove()
        wanted += [-_SCORE if index in covered else _SCORE for index in encoded]
        inputs, target = torch.stack(seen).double(), torch.tensor(wanted).double()
        middle = inputs.mean(0)
        apart = inputs - middle
        kernel = apart @ apart.T
        kernel += 0.03 * kernel.diagonal().mean() * torch.eye(len(seen))
        weight = apart.T @ torch.linalg.solve(kernel, target - target.mean())
        score.weight[0] = weight
        score.bias[0] = target.mean() - weight @ middle
