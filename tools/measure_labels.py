"""How well the live detector finds labelled objects by their labels, before and after training.

    python tools/measure_labels.py --data DIR --clip-weights FOLDER [FOLDER ...]
        [--held-out 10] [--images N] [--json FILE] [--markdown FILE]

DIR is a data set with labelled masks, as `maskcast train clip` takes it. Only images that it holds
out are looked at. All labels are asked for at once, of the model's own weights and of each folder.
An object is found where a mask overlaps it by an IoU of 0.5 or more; the surest such mask names it.
Scores are not calibrated, for any of the weights, so that the same score means the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from detector_models import Bench
from measuring import Parser, Table, guarded, positive, progress, write

from engines.detection import Found
from stream.errors import UsageError
from train.readers import IGNORE, DatasetError, held_out, open_dataset
from train.readers.samples import LabelledImage

LEAST_IOU, LEAST_SCORE = 0.5, 0.4
OWN = "as it is"


@dataclass
class Tally:
    """What was found in some images."""

    objects: int = 0
    found: int = 0
    named: int = 0
    masks: int = 0

    def figures(self) -> dict[str, float]:
        """Return recall by mask, recall by mask and label, and precision of the latter."""
        recall = self.named / self.objects if self.objects else 0.0
        precision = self.named / self.masks if self.masks else 0.0
        both = precision + recall
        return {
            "objects": self.objects,
            "masks": self.masks,
            "found": self.found / self.objects if self.objects else 0.0,
            "recall": recall,
            "precision": precision,
            "f1": 2 * precision * recall / both if both else 0.0,
        }

    def add(self, image: LabelledImage, found: Sequence[Found]) -> None:
        """Take one image; each mask stands for one object at most, the surest first."""
        assert image.ids is not None
        free = [n for n in image.labels if 0 < n < IGNORE and bool((image.ids == n).any())]
        self.objects += len(free)
        self.masks += len(found)
        for item in found:
            mask = _at_size(item.mask, image.ids.shape)
            overlaps = {n: _iou(mask, image.ids == n) for n in free}
            number = max(overlaps, key=lambda n: overlaps[n], default=0)
            if overlaps.get(number, 0.0) >= LEAST_IOU:
                free.remove(number)
                self.found += 1
                self.named += item.label == image.labels[number]


def _at_size(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    planes = torch.from_numpy(mask)[None, None].float()
    return F.interpolate(planes, size=size, mode="nearest")[0, 0].numpy() > 0


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def read_images(folder: Path, percent: int, most: int | None) -> list[LabelledImage]:
    """Load the held-out images that have labelled masks.

    Raises:
        UsageError: There are none.
    """
    try:
        dataset = open_dataset(folder)
        samples = [s for s in dataset.images if held_out(s.name, percent)]
        images = [image for s in samples if (image := s.load()).ids is not None and image.labels]
    except (DatasetError, ValueError) as error:
        raise UsageError(str(error)) from error
    if not images:
        raise UsageError(f"{folder}: no held-out image has labelled masks; raise --held-out")
    step = max(1, len(images) // most) if most else 1
    return images[::step][:most]


def run(args: argparse.Namespace) -> None:
    """Measure and write."""
    images = read_images(args.data, args.held_out, args.images)
    labels = sorted({label for image in images for label in image.labels.values()})
    figures: dict[str, Any] = {}
    with progress() as bar:
        task = bar.add_task("weights", total=len(images) * (1 + len(args.clip_weights)))
        for weights in (None, *args.clip_weights):
            bench = Bench(args.model, args.weights, args.clip, weights, args.device)
            detector = bench.detector(bench.settings(min_score=LEAST_SCORE))
            tally = Tally()
            for image in images:
                tally.add(image, detector.detect(image.image, bench.encode(image.image), labels))
                bar.advance(task)
            figures[Path(weights).name if weights else OWN] = tally.figures()
    columns = ["weights", "found", "found and named (recall)", "precision", "F1", "masks"]
    rows = [
        [
            name,
            *(f"{f[key]:.3f}" for key in ("found", "recall", "precision", "f1")),
            f"{f['masks']}",
        ]
        for name, f in figures.items()
    ]
    title = f"{len(images)} held-out images of {args.data.name}, {len(labels)} labels"
    write(args, [Table(title, columns, rows)], {"labels": labels, "weights_of": figures})


def main(argv: list[str] | None = None) -> int:
    """Read the options and run; returns the exit status."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--clip-weights", nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--held-out", type=positive, default=10, help="per cent, as in training")
    parser.add_argument("--images", type=positive, help="at most so many")
    parser.add_argument("--model", default="micro")
    parser.add_argument("--weights", help="of the segmenter, as of `maskcast run`")
    parser.add_argument("--clip", help="as of `maskcast run`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=positive, default=1, help="for the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    return guarded(run, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
