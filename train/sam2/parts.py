"""Which parameters are trained, and at which rate."""

from __future__ import annotations

from typing import Any

from sam2.modeling.sam2_base import SAM2Base
from torch import nn
from torch.utils.checkpoint import checkpoint

from stream.errors import UsageError
from train.sam2.passes import attention_of
from train.sam2.recipe import Recipe

DECODER = ("sam_mask_decoder.", "sam_prompt_encoder.")
MEMORY = (
    "memory_attention.", "memory_encoder.", "mask_downsample.", "obj_ptr_proj.",
    "obj_ptr_tpos_proj.", "maskmem_tpos_enc", "no_mem_embed", "no_mem_pos_enc", "no_obj_ptr",
    "no_obj_embed_spatial",
)  # fmt: skip
ENCODER = ("image_encoder.",)
TRAINED = {"decoder": DECODER, "memory": DECODER + MEMORY, "all": DECODER + MEMORY + ENCODER}
_TRUNK = "image_encoder.trunk."


def choose_parts(model: SAM2Base, recipe: Recipe) -> list[str]:
    """Let only what the recipe names be trained, and put the rest into eval mode.

    Returns:
        Names of the parameters that are trained.

    Raises:
        UsageError: A name to freeze fits no parameter, or nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for beginning in recipe.freeze:
        if not any(name.startswith(beginning) for name in names):
            heads = ", ".join(sorted({name.split(".")[0] for name in names}))
            raise UsageError(f"freeze {beginning!r} fits no parameter; they begin with {heads}")
    trained = []
    for name, parameter in model.named_parameters():
        wanted = name.startswith(TRAINED[recipe.train]) and not name.startswith(recipe.freeze)
        parameter.requires_grad_(wanted)
        if wanted:
            trained.append(name)
    if not trained:
        raise UsageError(
            f"train {recipe.train} with freeze {', '.join(recipe.freeze)} leaves nothing to train"
        )
    return trained


def train_mode(model: SAM2Base) -> None:
    """Put trained modules into train mode and frozen ones, with their dropout, into eval mode."""
    model.train()
    for module in model.children():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def parameter_groups(model: SAM2Base, recipe: Recipe) -> list[dict[str, Any]]:
    """Group trained parameters by rate and decay, for AdamW.

    Norms, biases and codes are not decayed. The image encoder learns at `encoder_lr_scale` of the
    rate, and each of its blocks at `layer_decay` of the one after it.

    Returns:
        Groups with `params`, `weight_decay` and `scale`, the factor of the learning rate.
    """
    blocks = len(model.image_encoder.trunk.blocks)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim < 2 or name.endswith(("_embed", "_enc", "pos_embed_window"))
        decay = 0.0 if plain else float(recipe.weight_decay or 0.0)
        groups.setdefault((_scale(name, blocks, recipe), decay), []).append(parameter)
    return [
        {"params": params, "weight_decay": decay, "scale": scale}
        for (scale, decay), params in groups.items()
    ]


def _scale(name: str, blocks: int, recipe: Recipe) -> float:
    if not name.startswith(ENCODER):
        return 1.0
    if not name.startswith(_TRUNK) or "pos_embed" in name:
        return recipe.encoder_lr_scale
    parts = name.removeprefix(_TRUNK).split(".")
    # The patch embedding is layer 0, block k layer k + 1, what follows the blocks the last.
    layer = int(parts[1]) + 1 if parts[0] == "blocks" else 0
    return recipe.encoder_lr_scale * recipe.layer_decay ** (blocks - layer)


def use_checkpointing(model: SAM2Base) -> None:
    """Compute activations of encoder blocks and memory attention again in the backward pass."""
    for block in model.image_encoder.trunk.blocks:
        block.forward = _checkpointed(block.forward, fused=False)
    for layer in model.memory_attention.layers:
        layer.forward = _checkpointed(layer.forward, fused=True)


def _checkpointed(forward: Any, *, fused: bool) -> Any:
    device = next(forward.__self__.parameters()).device

    def chosen(*args: Any, **kwargs: Any) -> Any:
        # The backward pass runs outside of the contexts of the forward pass.
        with attention_of(device, fused=fused):
            return forward(*args, **kwargs)

    def again(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(chosen, *args, use_reentrant=False, **kwargs)

    return again
