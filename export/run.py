"""One export: networks are written, compared with torch, and only then kept.

Everything is written into a folder beside the one that was asked for, which takes its place at the
end: an export that fails or is interrupted leaves what was there before.
"""

from __future__ import annotations

import copy
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from engines.backends import Network, Runner, Running, get
from engines.checkpoint import sha256
from engines.errors import ModelError
from engines.manifest import (
    GRAPHS,
    REPORT_FILE,
    Exported,
    Kind,
    Manifest,
    default_folder,
    fingerprint,
    write,
)
from engines.registry import Loaded
from export import formats
from export.film import Recorder
from export.parity import TensorError, compare_tensors, tensor_faults, to_json

#: Packages that have a say in what an artefact is.
_PACKAGES = ("maskcast", "torch", "sam2", "open_clip_torch", "onnx", "onnxruntime", "openvino",
             "torch_tensorrt")  # fmt: skip

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is exported, and to what."""

    to: str
    """`onnx`, `openvino`, `tensorrt` or `torch`."""
    precision: str
    """One for all networks, or `auto` for what each tolerates."""
    command: str
    """That makes it anew."""
    out: Path | None = None
    """The folder; None for where `run` looks."""
    device: str = "cpu"

    @property
    def backend(self) -> str:
        """The backend that will run it."""
        return formats.BACKEND_OF[self.to]


@dataclass
class Parity:
    """What was found out about an export."""

    precisions: dict[str, str]
    tensors: dict[str, dict[str, TensorError]] = field(default_factory=dict)
    film: Any = None
    faults: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    """Networks that were given more precision than they were thought to need, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return the report."""
        return {
            "precisions": self.precisions,
            "tensors": to_json(self.tensors),
            "film": to_json(self.film),
            "faults": self.faults,
            "tried": self.tried,
        }


class ParityError(ModelError):
    """An export is out of tolerance; nothing was kept of it.

    Attributes:
        parity: What was found out.
    """

    def __init__(self, parity: Parity) -> None:
        super().__init__(
            "out of tolerance, nothing was written: "
            + "; ".join(parity.faults)
            + ". Take a finer --precision"
        )
        self.parity = parity


#: What each network tolerates, found out by `tools/measure_precision.py`; see docs/export.md.
AUTO_PRECISION: dict[str, dict[str, str]] = {
    "onnxruntime": {},
    "openvino": {"": "bf16"},
    "tensorrt": {"": "fp16"},
    "torch": {"": "bf16"},
}


def precisions_of(order: Order, names: list[str]) -> dict[str, str]:
    """Return the precision of each network.

    Raises:
        ModelError: The precision is unknown, or the backend does not compute in it.
    """
    accepted = formats.PRECISIONS_OF[order.backend]
    if order.precision == "auto":
        best = AUTO_PRECISION[order.backend]
        usual = best.get("", "fp32")
        if usual == "bf16" and order.device == "cpu" and not torch.cpu._is_avx512_bf16_supported():
            return dict.fromkeys(names, "fp32")
        return {name: best.get(name, usual) for name in names}
    if order.precision not in accepted:
        raise ModelError(
            f"--precision {order.precision}: {order.to} computes in {', '.join(accepted)} only"
        )
    return dict.fromkeys(names, order.precision)


def export(
    order: Order,
    kind: Kind,
    loaded: Loaded,
    image_size: int,
    networks: Mapping[str, Network],
    recorded: Mapping[str, Recorder],
    judge: Callable[[Mapping[str, Runner], Parity], None],
    say: Say,
    dense: str = "",
) -> tuple[Path, Parity]:
    """Write, compare and keep.

    Args:
        order: What is wanted.
        kind: Which model.
        loaded: The model and where its weights came from.
        image_size: Side of its input in pixels.
        networks: Its networks.
        recorded: The same in torch, with the inputs that they were seen to get.
        judge: Compares from end to end: fills in `film` and `faults` of what was found out.
        say: Told what is being done.
        dense: How CLIP's last block is read.

    Returns:
        The folder and what was found out.

    Raises:
        ParityError: Something is out of tolerance; the folder is as it was.
        ModelError: A network cannot be exported.
    """
    backend = get(order.backend)
    if said := backend.missing(order.device):
        raise ModelError(f"--to {order.to}: {said}")
    weights = fingerprint(loaded.origin)
    folder = order.out or default_folder(kind, loaded.name, image_size, order.backend, weights)
    parity = Parity(precisions_of(order, list(networks)))
    with _aside(folder) as partial:
        made: dict[str, Exported] = {}
        runners: dict[str, Runner] = {}
        wrong = list(networks)
        while wrong:
            for name in wrong:
                precision = parity.precisions[name]
                say(f"writing {name} in {precision}")
                file = f"{name}{backend.suffix}"
                runners.pop(name, None)
                for old in partial.glob(f"{name}.*"):
                    old.unlink()  # an engine may still read from what it was
                formats.write(
                    order.backend, copy.deepcopy(networks[name]), partial / file, precision,
                    recorded[name].seen,
                )  # fmt: skip
                made[name] = Exported(file, precision, sha256(partial / file))
                how = Running(order.device, None, None)
                runners[name] = backend.load(partial / file, networks[name], precision, how)
                say(f"comparing {name}")
                parity.tensors[name] = compare_tensors(
                    recorded[name].run, runners[name], recorded[name].seen
                )
            parity.faults = tensor_faults(parity.tensors, parity.precisions)
            judge(runners, parity)
            wrong = to_refine(parity) if order.precision == "auto" else []
            if parity.faults and not wrong:
                raise ParityError(parity)
            for name in wrong:
                said = f"{name} in {parity.precisions[name]}: {'; '.join(parity.faults)}"
                parity.tried.append(said)
                say(f"{said}; trying {name} in fp32")
                parity.precisions[name] = "fp32"
        manifest = Manifest(
            kind=kind, model=loaded.name, weights=weights, image_size=image_size,
            backend=order.backend, networks=made, graphs=GRAPHS, versions=_versions(),
            command=order.command, dense=dense, device=_card(order),
        )  # fmt: skip
        write(partial, manifest)
        report = msgspec.json.format(msgspec.json.encode(parity.to_json()), indent=1)
        (partial / REPORT_FILE).write_bytes(report + b"\n")
    return folder, parity


def to_refine(parity: Parity) -> list[str]:
    """Return the networks that need more precision, going by what was found out.

    Those that are out of tolerance by themselves; where only the whole is, the one of the others
    that is the furthest from torch, so that no more of them become slow than have to.

    Returns:
        None where all is well, or where there is nothing finer.
    """
    if not parity.faults:
        return []
    coarse = [name for name, precision in parity.precisions.items() if precision != "fp32"]
    alone = [name for name in coarse if tensor_faults(_of(parity, name), parity.precisions)]
    return alone or sorted(coarse, key=lambda name: -_furthest(parity, name))[:1]


def _of(parity: Parity, name: str) -> dict[str, dict[str, TensorError]]:
    return {name: parity.tensors.get(name, {})}


def _furthest(parity: Parity, name: str) -> float:
    return max((error.relative for error in parity.tensors.get(name, {}).values()), default=0.0)


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Give a folder that takes the place of another one if all goes well.

    Raises:
        ModelError: The folder holds something that is no export, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or _is_foreign(folder)):
        raise ModelError(f"{folder}: is there and is no export; give another --out")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        where = error.filename or folder
        raise ModelError(f"{where}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_foreign(folder: Path) -> bool:
    return any(folder.iterdir()) and not (folder / "manifest.json").is_file()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _card(order: Order) -> str:
    return torch.cuda.get_device_name(order.device) if order.backend == "tensorrt" else ""
