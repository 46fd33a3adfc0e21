"""Fit what tells which of the drawings of a click was meant: the weights in engines/clicks.py.

    python tools/fit_clicks.py --data DIR [--pictures 160] [--objects 16] [--threads 2]
        [--json FILE] [--markdown FILE]

DIR is dsb2018_nuclei among the data of `maskcast train micro`. Pictures that the micro models were
trained on are clicked as `maskcast eval --prompt first-click` clicks them, and every drawing of
every click is compared with the truth. The weights are those whose choice has the highest IoU to be
expected (softmax over the drawings of a click), where every object of the pictures counts as much,
clicked or not: a click stands for as many as its picture has more of than were clicked. How good
they are is judged on each quarter of the pictures with a fit on the other three.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import Parser, Table, guarded, positive, progress, write
from numpy.typing import NDArray

from engines.clicks import TERMS, WEIGHTS, guesses, terms
from engines.edges import Edges, Outline
from engines.overlaps import iou
from engines.registry import load_edges
from engines.sketches import disc_at
from stream.config import check
from stream.errors import UsageError
from stream.frame import crop_mask
from stream.offline.looks import segment_hints
from stream.offline.prompts import Hint, Prompter
from stream.offline.sight import UNSEEN_PX, ModelSight, Pixels, Seen
from train.micro.data import DataError, Still, is_held_out, read_dsb2018

FOLDS = 4


@dataclass(frozen=True)
class Click:
    """What was drawn of one."""

    terms: NDArray[np.float64]
    """(G, 5), as `engines.clicks.terms`."""
    iou: NDArray[np.float64]
    """(G,) with the truth."""
    picture: int
    """Its number."""
    stands_for: float = 1.0
    """Objects of the picture, divided by those of them that were clicked."""


class Catching(ModelSight):
    """The models as they are, without drawing; keeps the outlines that drawing would begin with."""

    def __init__(self) -> None:
        super().__init__(check({"tracker": {"refine": False}}), with_texts=False)
        self.outlines: dict[int, Outline] = {}

    def draw(
        self, image: Pixels, seen: Mapping[int, Seen], hints: Mapping[int, Hint]
    ) -> dict[int, Seen]:
        """Keep and return what was seen."""
        size = (int(image.shape[0]), int(image.shape[1]))
        self.outlines = {}
        for number, hint in hints.items():
            assert hint.point is not None
            one = seen.get(number)
            place = (one.mask, one.box) if one else disc_at(hint.point, UNSEEN_PX, size)
            self.outlines[number] = Outline(*place, point=hint.point)
        return dict(seen)


def clicks_of(edges: Edges, sight: Catching, still: Still, most: int, number: int) -> list[Click]:
    """Click some objects of a picture, and compare all that is drawn."""
    hints = Prompter.parse("first-click").hints(still.ids)
    some = np.random.default_rng(number).permutation(list(hints))[:most].tolist()
    segment_hints(sight, still.image, {name: hints[name] for name in some}, None)
    drawn = guesses(edges, still.image, [sight.outlines[name] for name in some])
    found = []
    for name, made in zip(some, drawn, strict=True):
        true = crop_mask(still.ids == name)
        ious = [iou(guess.place, true) for guess in made]
        point = sight.outlines[name].point
        assert point is not None
        found.append(Click(terms(made, point), np.array(ious), number, len(hints) / len(some)))
    return found


def fit(clicks: Sequence[Click]) -> NDArray[np.float64]:
    """Return (5,) weights of the terms."""
    every = torch.from_numpy(np.stack([click.terms for click in clicks]))
    found = torch.from_numpy(np.stack([click.iou for click in clicks]))
    share = torch.tensor([click.stands_for for click in clicks], dtype=every.dtype)
    share /= share.sum()
    spread = every.flatten(0, 1).std(dim=0).clamp(min=1e-6)
    weights = torch.zeros(len(TERMS), dtype=every.dtype, requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        search.zero_grad()
        chance = ((every / spread) @ weights).softmax(dim=1)
        loss = -((chance * found).sum(dim=1) @ share) + 1e-4 * (weights**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(closure)
    fitted: NDArray[np.float64] = (weights.detach() / spread).numpy()
    return fitted


def chosen(clicks: Sequence[Click], weights: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the mean IoU of what weights choose, over all objects of the pictures."""
    return mean(clicks, [one.iou[np.argmax(one.terms @ np.asarray(weights))] for one in clicks])


def mean(clicks: Sequence[Click], iou: Sequence[float]) -> float:
    """Return the mean over all objects that clicks stand for."""
    return float(np.average(iou, weights=[click.stands_for for click in clicks]))


def apart(clicks: Sequence[Click]) -> float:
    """Return the mean IoU where what is judged was not fitted to."""
    sums = objects = 0.0
    for fold in range(FOLDS):
        out = [one for one in clicks if one.picture % FOLDS == fold]
        rest = [one for one in clicks if one.picture % FOLDS != fold]
        if out and rest:
            some = sum(one.stands_for for one in out)
            sums += chosen(out, fit(rest)) * some
            objects += some
    return sums / objects


def main(args: argparse.Namespace) -> None:
    """Click, fit and print."""
    try:
        stills = [still for still in read_dsb2018(args.data) if not is_held_out(still.name)]
    except DataError as error:
        raise UsageError(str(error)) from error
    if len(stills) < FOLDS:
        plural = "s" * (len(stills) != 1)
        raise UsageError(
            f"{args.data}: {len(stills)} picture{plural} may be trained on; {FOLDS} or more are "
            "needed to judge a fit"
        )
    order = np.random.default_rng(0).permutation(len(stills))[: args.pictures]
    edges, sight = load_edges("micro"), Catching()
    clicks: list[Click] = []
    with progress() as bar:
        for number, row in enumerate(bar.track(order, description="pictures")):
            clicks += clicks_of(edges, sight, stills[row], args.objects, number)
    weights = fit(clicks)
    ious = np.stack([click.iou for click in clicks])
    figures: dict[str, Any] = {
        "pictures": len(order),
        "clicks": len(clicks),
        "fitted": dict(zip(TERMS, weights.round(3).tolist(), strict=True)),
        "iou": {
            "chosen by the weights of before": chosen(clicks, WEIGHTS),
            "chosen by these": chosen(clicks, weights),
            "chosen by weights fitted to other pictures": apart(clicks),
            "the network's word alone": chosen(clicks, np.eye(len(TERMS))[0]),
            "the best beginning alone": max(mean(clicks, one) for one in ious.T),
            "the best drawing, were it known": mean(clicks, ious.max(axis=1)),
        },
    }
    write(args, tables(figures), figures)


def tables(figures: dict[str, Any]) -> list[Table]:
    """Lay the figures out."""
    weights = [[name, f"{value:.3f}"] for name, value in figures["fitted"].items()]
    ious = [[name, f"{value:.4f}"] for name, value in figures["iou"].items()]
    return [
        Table("Weights", ["what speaks for a drawing", "weight"], weights),
        Table("IoU", ["which drawing", "IoU with the truth"], ious),
    ]


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pictures", type=positive, default=160)
    parser.add_argument("--objects", type=positive, default=16, help="of a picture, at most")
    parser.add_argument("--threads", type=positive, default=2, help="for the networks")
    parser.set_defaults(model="micro", weights=None, device="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(guarded(main, options()))
