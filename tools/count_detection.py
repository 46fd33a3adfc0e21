"""How many operations a detection takes, by part, beside one pass of the segmenter's encoder.

    python tools/count_detection.py [--clip ViT-B-16] [--clip-size 336] [--proposals 16]
        [--model sam2.1-tiny] [--image-size 1024] [--json FILE] [--markdown FILE]

Nothing is computed: the networks and their inputs are on torch's meta device, and every matrix
product and convolution that they would do is counted by its shape, a multiplication and an
addition as two. Attention is taken apart into its two products, because the fused kernels are
counted on some devices and not on others; what is masked out is counted as well, as it is computed.
The tracker encodes every frame anyway; the share of its pass is the price of a detection.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import Parser, Table, guarded, positive, write
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engines.build import RENDERED_PROMPTS, build_sam2
from engines.clip_models import build_detector_clip, own_size_px
from engines.decoding import decode_prompts
from engines.dense import dense_pass
from engines.errors import ModelError
from engines.features import Features
from engines.mask_tokens import mask_tokens
from engines.views import starts

GIGA = 1e9
CROPS = (4, 8)
SWEEPS = (8, 16, 32)
MOST_SHARE = 0.5


@dataclass(frozen=True)
class Setting:
    """What is counted."""

    clip: str = "ViT-B-16"
    clip_size_px: int = 336
    proposals: int = 16
    model: str = "sam2.1-tiny"
    image_size: int | None = 1024


def count(work: Callable[[], Any]) -> int:
    """Return the operations of some work on meta tensors, attention included."""
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), _no_fast_path(), torch.inference_mode():
        work()
    return int(counter.get_total_flops())


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """Keep torch from fusing a whole attention layer into one kernel that nobody counts."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class Parts:
    """The networks of a setting and the operations of each part.

    Args:
        setting: What is counted.

    Raises:
        ModelError: A model or a size cannot be used.
    """

    def __init__(self, setting: Setting) -> None:
        try:
            self._sam = build_sam2(setting.model, setting.image_size).to("meta")
            self._visual = build_detector_clip(setting.clip).visual.to("meta")
        except ValueError as error:
            raise ModelError(str(error)) from error
        patch = self._visual.conv1.kernel_size[0]
        if setting.clip_size_px % patch:
            raise ModelError(
                f"CLIP size {setting.clip_size_px} px is no multiple of {setting.clip}'s patches "
                f"of {patch} px"
            )
        self._setting = setting
        self._rendered = setting.model in RENDERED_PROMPTS
        self._features = self._made_up()

    def encoder(self) -> int:
        """Return those of one image through the segmenter's encoder."""
        side = self._sam.image_size
        image = torch.empty(1, 3, side, side, device="meta")
        return count(lambda: self._sam.forward_image(image))

    def dense(self) -> int:
        """Return those of the dense pass over one tile, or the whole frame."""
        return count(self._pass)

    def decodes(self, prompts: int, *, boxes: bool) -> int:
        """Return those of so many prompts through the mask decoder."""
        points = torch.rand(prompts, 2, device="meta")
        corners = torch.rand(prompts, 4, device="meta") if boxes else None
        return count(
            lambda: decode_prompts(
                self._sam, self._features, points, corners, rendered=self._rendered
            )
        )

    def tokens(self, masks: int) -> int:
        """Return those of a class token for each of so many masks, besides the dense pass."""
        with torch.inference_mode():
            found = self._pass()
        inside = torch.ones(masks, *found.grid, dtype=torch.bool, device="meta")
        return count(lambda: mask_tokens(self._visual, found, inside))

    def crops(self, number: int) -> int:
        """Return those of so many crops."""
        side = own_size_px(self._visual)
        images = torch.empty(number, 3, side, side, device="meta")
        return count(lambda: self._visual(images))

    def _pass(self) -> Any:
        side = self._setting.clip_size_px
        return dense_pass(self._visual, torch.empty(1, 3, side, side, device="meta"))

    def _made_up(self) -> Features:
        side = self._sam.image_size // 16
        width = self._sam.hidden_dim
        top = torch.empty(1, width, side, side, device="meta")
        half = torch.empty(1, width // 4, 2 * side, 2 * side, device="meta")
        quarter = torch.empty(1, width // 8, 4 * side, 4 * side, device="meta")
        return Features(top, half, quarter, (1080, 1920))


def count_all(setting: Setting, tiles: int = 2) -> dict[str, Any]:
    """Return GFLOP by part, of the whole event and of what can be added to it."""
    parts = Parts(setting)
    number = setting.proposals
    encoder = parts.encoder()
    dense = parts.dense()
    event = {
        "dense pass": dense,
        f"{number} decodes (point and box)": parts.decodes(number, boxes=True),
        f"{number} mask tokens": parts.tokens(number),
    }
    patches = setting.clip_size_px // parts._visual.conv1.kernel_size[0]
    extra = {f"{crops} crops": parts.crops(crops) for crops in CROPS}
    extra |= {
        f"grid of {side} x {side} clicks": parts.decodes(side * side, boxes=False)
        for side in SWEEPS
    }
    extra[f"tiles {tiles}: {tiles * tiles - 1} more passes"] = (tiles * tiles - 1) * dense
    total = sum(event.values())
    return {
        "encoder_gflop": encoder / GIGA,
        "event_gflop": total / GIGA,
        "share": total / encoder,
        "parts_gflop": {name: value / GIGA for name, value in event.items()},
        "extra_gflop": {name: value / GIGA for name, value in extra.items()},
        "patches": {"one": patches, "tiles": starts(patches, tiles)[-1] + patches},
    }


def main(args: argparse.Namespace) -> None:
    """Count and print."""
    setting = Setting(args.clip, args.clip_size, args.proposals, args.model, args.image_size)
    figures = count_all(setting)
    encoder = figures["encoder_gflop"]

    def row(name: str, gflop: float) -> list[str]:
        return [name, f"{gflop:.1f}", f"{gflop / encoder:.2f}"]

    rows = [row(f"{args.model} encoder, {args.image_size} px", encoder)]
    rows += [row(name, value) for name, value in figures["parts_gflop"].items()]
    rows += [row("the event", figures["event_gflop"])]
    rows += [row(f"+ {name}", value) for name, value in figures["extra_gflop"].items()]
    title = f"One detection, {args.clip} at {args.clip_size} px, {args.proposals} proposals"
    write(args, [Table(title, ["what", "GFLOP", "of the encoder pass"], rows)], figures)
    if figures["share"] > MOST_SHARE:
        print(f"the event takes more than {MOST_SHARE:g} of the encoder pass", file=sys.stderr)


def options() -> argparse.ArgumentParser:
    """Return the options."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clip", default="ViT-B-16", help="an open_clip name, or micro")
    parser.add_argument("--clip-size", type=positive, default=336, metavar="PX")
    parser.add_argument("--proposals", type=positive, default=16)
    parser.add_argument("--model", default="sam2.1-tiny")
    parser.add_argument("--image-size", type=positive, default=1024, metavar="PX")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    # Said in the file beside the figures; nothing is computed.
    parser.set_defaults(weights=None, device="meta", threads=1)
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main, options().parse_args()))
