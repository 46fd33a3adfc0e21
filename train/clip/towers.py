"""Which parts of a CLIP model are trained, and how it embeds pictures, texts and patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engines.dense import dense_features
from engines.texts import TextBank, Tokenizer
from stream.errors import UsageError
from train.micro.clip_losses import encode_texts

NEVER_DECAYED = ("logit_scale", "logit_bias")


@dataclass(frozen=True, slots=True)
class Towers:
    """A CLIP model with what it takes to embed.

    Attributes:
        model: An open_clip model with a plain ViT image tower.
        tokenizer: Texts to (N, L) token ids.
        negatives: What every question to a run is weighed against.
        device: Where the model lies.
        bf16: Whether embedding runs under bf16 autocast.
    """

    model: Any
    tokenizer: Tokenizer
    negatives: tuple[str, ...]
    device: torch.device
    bf16: bool

    def pictures(self, planes: Tensor) -> Tensor:
        """Return (B, D) float32 of (B, 3, side, side)."""
        with self._running():
            return self.model.encode_image(planes.to(self.device)).float()  # type: ignore[no-any-return]

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return (N, D) float32."""
        tokens = self.tokenizer(list(texts)).to(self.device)
        with self._running():
            if _pads_in_vain(self.model):
                return encode_texts(self.model, tokens).float()
            return self.model.encode_text(tokens).float()  # type: ignore[no-any-return]

    def patches(self, planes: Tensor) -> Tensor:
        """Return (B, rows, columns, D) float32, as runs read them."""
        with self._running():
            return dense_features(self.model.visual, planes.to(self.device), "naclip")[1].float()

    @property
    def scale(self) -> Tensor:
        """`logit_scale` after exp."""
        scale: Tensor = self.model.logit_scale.float().exp()
        return scale.reshape(())

    def _running(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, self.bf16)


def towers_of(model: Any, bank: TextBank, device: torch.device, bf16: bool) -> Towers:
    """Return a model with its own tokenizer and the negatives of a run."""
    tokenizer = bank._tokenizer  # the bank is where a model's tokenizer is found
    return Towers(model.to(device), tokenizer, bank.default_negatives, device, bf16)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Measure inside without dropout; afterwards each part is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def choose_trained(model: Any, part: str, freeze_text: bool) -> list[str]:
    """Set what has a gradient; everything else is frozen and in eval mode.

    Args:
        model: The model.
        part: `projection`, `last:K` or `all`.
        freeze_text: Whether the text tower stays as it is.

    Returns:
        Names of the parameters that are trained.

    Raises:
        UsageError: A tower has fewer than K blocks.
    """
    model.eval().requires_grad_(False)
    chosen: list[nn.Module | nn.Parameter | None] = [model.logit_scale]
    if part == "all":
        chosen += [model.visual] if freeze_text else [model]
    else:
        last = int(part.partition(":")[2] or 0)
        visual = model.visual
        chosen += [visual.proj, *_last(visual.transformer.resblocks, last, "image", part)]
        chosen += [visual.ln_post] if last else []
        if not freeze_text:
            chosen += _text_parts(model, last, part)
    for item in chosen:
        if isinstance(item, nn.Module):
            item.requires_grad_(True).train()
        elif isinstance(item, nn.Parameter):
            item.requires_grad_(True)
    if getattr(model, "logit_bias", None) is not None:
        model.logit_bias.requires_grad_(False)  # a softmax cannot see it
    if part == "all":
        model.train()
        if freeze_text:
            for name, child in model.named_children():
                child.train(name == "visual")
    _still_norms(model)
    return [name for name, value in model.named_parameters() if value.requires_grad]


def parameter_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return what AdamW trains: matrices with decay; norms, biases and logit_scale without."""
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    with_decay = [p for n, p in trained if p.ndim >= 2 and n not in NEVER_DECAYED]
    without = [p for n, p in trained if p.ndim < 2 or n in NEVER_DECAYED]
    return [
        {"params": with_decay, "weight_decay": decay},
        {"params": without, "weight_decay": 0.0},
    ]


def _text_parts(model: Any, last: int, part: str) -> list[nn.Module | nn.Parameter | None]:
    """Return a text tower's projection, and its last blocks with the final norm."""
    tower = getattr(model, "text", model)
    own = getattr(tower, "text_projection", None)
    parts = [own if own is not None else getattr(tower, "proj", None)]
    if not last:
        return parts
    inner = tower.transformer
    blocks = inner.resblocks if hasattr(inner, "resblocks") else inner.encoder.layer
    return [*parts, *_last(blocks, last, "text", part), getattr(tower, "ln_final", None)]


def _last(blocks: Any, last: int, tower: str, part: str) -> list[nn.Module | nn.Parameter | None]:
    if last > len(blocks):
        raise UsageError(
            f"train {part!r}: the {tower} tower has {len(blocks)} blocks; take fewer, or all"
        )
    return list(blocks)[len(blocks) - last :]


def _still_norms(model: nn.Module) -> None:
    """Keep running means as they are: parts of a batch would move them differently."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _pads_in_vain(model: Any) -> bool:
    """Whether texts may be cut to the longest of them: causal, read at the last token."""
    return (
        hasattr(model, "token_embedding")
        and getattr(model, "text_pool_type", "") == "argmax"
        and isinstance(getattr(model, "text_projection", None), nn.Parameter)
        and getattr(model, "attn_mask", None) is not None
    )
