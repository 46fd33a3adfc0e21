"""The micro SAM 2 in training: where its weights start, its batches, its loss."""

from __future__ import annotations

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from engines.build import build_sam2
from engines.finder import Finder
from train.micro.motion import Clip
from train.micro.pool import Pool
from train.micro.recipe import Segmenter
from train.micro.segmenter import FINER_PROMPT_CODE, DenseHead, pointwise_as_linear
from train.micro.steps import Heads, StepOptions, training_loss
from train.micro.trainer import Schedule, Trainer
from train.ranks import Ranks

#: Rotary pairs an axis, the fastest ones, that make memory reading local, and their strength.
LOCAL_PAIRS = 10
LOCAL_STRENGTH = 2.8


def new_model(seed: int) -> SAM2Base:
    """A micro model with random weights, save for a few that a short training would not find."""
    torch.manual_seed(seed)
    model = build_sam2("micro")
    prime(model)
    return model


@torch.no_grad()
def prime(model: SAM2Base) -> None:
    """Start some weights where they are useful.

    - The Fourier code of prompts is made finer: objects are small in the frame.
    - A mask prompt enters the decoder like a drawn prompt, from -4 to 4.
    - Memory is read from about the same place: a constant part in queries and keys, turned by the
      rotary code, makes attention fall off with distance. From uniform attention, hundreds of steps
      pass before any memory is read.
    """
    model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.mul_(FINER_PROMPT_CODE)
    model.mask_downsample.weight.fill_(8.0 / model.mask_downsample.weight.numel())
    model.mask_downsample.bias.fill_(-4.0)
    for network in model.sam_mask_decoder.output_hypernetworks_mlps:
        bias = network.layers[-1].bias
        bias.fill_(1.0)
        bias[1::2] = -1.0
    for layer in model.memory_attention.layers:
        for projection in (layer.cross_attn_image.q_proj, layer.cross_attn_image.k_proj):
            # The rotary code turns pairs of channels, those of x first, from fast to slow.
            axes = projection.bias.view(2, -1, 2)
            axes.zero_()
            axes[:, :LOCAL_PAIRS, 0] = LOCAL_STRENGTH


class SegmenterTrainer(Trainer):
    """Trains the micro SAM 2: stills first, then stills and clips by turns.

    Args:
        pool: where images and clips come from.
        recipe: sizes and rates.
        seed: of the weights and the batches.
        ranks: this process among all.
    """

    def __init__(self, pool: Pool, recipe: Segmenter, seed: int, ranks: Ranks) -> None:
        self.pool, self.recipe = pool, recipe
        self._second_round = recipe.second_round if recipe.second_round < recipe.steps else 0
        model = new_model(seed)
        pointwise_as_linear(model)
        decoder = model.sam_mask_decoder
        fine, middle = decoder.conv_s0.out_channels, decoder.conv_s1.out_channels
        self._dense = DenseHead(fine, model.hidden_dim)
        self._finder = Finder(fine, middle, model.hidden_dim)
        schedule = Schedule(
            recipe.steps, recipe.rate, recipe.warmup, 0.02, recipe.average,
            (self._second_round,) if self._second_round else (), recipe.second_rate,
        )  # fmt: skip
        heads = nn.ModuleDict({"dense": self._dense, "finder": self._finder})
        super().__init__(model, heads, schedule, seed, ranks)

    def kept_heads(self) -> dict[str, dict[str, Tensor]]:
        """The finder, where there was a second round."""
        if not self._second_round:
            return {}
        beginning = "finder."
        weights = self.heads_average.shadow.items()
        return {"finder": {k.removeprefix(beginning): v for k, v in weights if beginning in k}}

    def _in_second_round(self, step: int) -> bool:
        return 0 < self._second_round <= step

    def draw(self, step: int) -> list[Clip]:
        """Stills before `track_from`; then one step of three, in the second round two of three."""
        rng = np.random.default_rng((self.seed, step, self.ranks.rank, 0))
        recipe = self.recipe
        second = self._in_second_round(step)
        shapes = recipe.shape_share if second else 0.0
        of_stills = step % 3 != 0 if second else step % 3 == 0
        if step < recipe.track_from or of_stills:
            return [self.pool.clip(1, rng, shapes) for _ in range(recipe.stills)]
        frames = int(rng.integers(recipe.frames[0], recipe.frames[1] + 1))
        return [self.pool.clip(frames, rng, shapes) for _ in range(recipe.clips)]

    def loss(self, batch: list[Clip]) -> tuple[Tensor, dict[str, float]]:
        """Loss of stills or clips with prompts drawn for this step."""
        rng = np.random.default_rng((self.seed, self.step, self.ranks.rank, 1))
        sharp = min(1.0, self.step / self.recipe.sharpen_by)
        options = StepOptions(
            foreground_weight=10.0 - 9.0 * sharp,
            prompts_per_frame=self.recipe.prompts if len(batch[0].ids) == 1 else 5,
            dense_weight=1.0 if sharp < 1.0 else 0.3,
        )
        heads = Heads(self._dense, self._finder if self._in_second_round(self.step) else None)
        return training_loss(self.model, heads, batch, options, rng)
