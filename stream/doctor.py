"""Checks of the machine and the installation: what is there, what is wrong, what to do."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "note", "wrong"]
PACKAGES = ("stream", "engines", "export", "train")
LIBRARIES = ("torch", "torchvision", "sam2", "open_clip_torch", "av", "numpy", "pyzmq")
OLDEST_TORCH = (2, 11)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""
    """What to do, where something is wrong."""


def examine(ports: tuple[int, ...] = (5560, 5561, 8080)) -> Iterator[Check]:
    """Yield all checks; each is made when it is asked for.

    Args:
        ports: TCP ports that a default run binds on 127.0.0.1.
    """
    yield _python()
    for name in PACKAGES:
        yield shadowed(name)
    for name in LIBRARIES:
        yield _library(name)
    yield _guarded("torch runs", _torch)
    yield _guarded("video", _video)
    yield _guarded("micro models", _weights)
    yield _memory()
    yield _guarded("live metrics", _metrics)
    for port in ports:
        yield port_free(port)


def shadowed(name: str) -> Check:
    """Check that a package name leads to maskcast and not to another thing of that name."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return Check(f"package {name}", "wrong", str(error), "reinstall maskcast")
    where = str(getattr(module, "__file__", None) or next(iter(module.__path__)))
    if getattr(module, "__distribution__", None) == "maskcast":
        return Check(f"package {name}", "ok", str(Path(where).parent))
    return Check(
        f"package {name}",
        "wrong",
        f"another {name!r} shadows ours: {where}",
        f"remove it, or start from a folder without {name}.py (a console script is safe)",
    )


def port_free(port: int) -> Check:
    """Check that a TCP port can be bound on 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            detail = f"127.0.0.1:{port}: {error.strerror}"
            return Check(
                f"port {port}", "note", detail, "choose another publish.endpoint or web.port"
            )
    return Check(f"port {port}", "ok", "free on 127.0.0.1")


def _python() -> Check:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if platform.system() != "Linux":
        return Check("python", "wrong", text, "maskcast needs Linux (memfd)")
    return Check("python", "ok", text)


def _library(name: str) -> Check:
    try:
        return Check(f"library {name}", "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(f"library {name}", "wrong", "not installed", f"pip install {name}")


def _torch() -> Check:
    import torch
    import torchvision  # its compiled part must fit torch

    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    bf16 = "bf16 in hardware" if torch.cpu._is_avx512_bf16_supported() else "no bf16 in hardware"
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    cores = len(os.sched_getaffinity(0))
    detail = f"{cores} cores, {bf16}; {device}; torchvision {torchvision.__version__}"
    if version < OLDEST_TORCH:
        return Check("torch runs", "wrong", torch.__version__, "maskcast needs torch >= 2.11")
    torch.zeros(1).add(1)
    return Check("torch runs", "ok", detail)


def _video() -> Check:
    from stream.av_io import describe

    return Check("video", "ok", describe())


def _weights() -> Check:
    from engines.registry import status

    rows = [row for row in status() if row.name == "micro"]
    bad = [row.path for row in rows if row.check != "ok"]
    if bad:
        return Check("micro models", "wrong", f"damaged or missing: {bad[0]}", "reinstall maskcast")
    return Check("micro models", "ok", ", ".join(f"{row.kind} {row.sha256[:12]}" for row in rows))


def _memory() -> Check:
    try:
        os.close(os.memfd_create("maskcast-doctor"))
    except OSError as error:
        return Check("shared memory", "wrong", str(error), "set transport.kind to tcp")
    free_mb = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return Check("shared memory", "ok", f"memfd works, {free_mb} MB of memory are free")


def _metrics() -> Check:
    from stream.metrics import METRICS, Exposition
    from stream.vitals import Vitals

    Exposition(Vitals()).render()
    library = importlib.metadata.version("prometheus-client")
    return Check(
        "live metrics",
        "ok",
        f"{len(METRICS)} can be served beside the page or at --metrics-port (prometheus-client "
        f"{library})",
    )


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a doctor reports what broke, whatever it was
        text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        return Check(name, "wrong", text, "reinstall maskcast into an environment of its own")
