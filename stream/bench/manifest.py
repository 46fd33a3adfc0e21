"""What figures depend on: code, weights, precision, libraries, machine, configuration, input."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import stream
from stream.config import Config
from stream.offline import provenance
from stream.sources.uri import redact, scheme_of


def manifest(
    config: Config,
    command: list[str],
    models: bool,
    *,
    page: bool = False,
    handicap_ms: float = 0.0,
) -> dict[str, Any]:
    """Return it as plain data; it holds no credentials.

    Args:
        config: The run's.
        command: The command line.
        models: Whether the models worked, or stand-ins.
        page: Whether a browser showed the page meanwhile.
        handicap_ms: How long the tracker slept in each frame.
    """
    plain = config.model_dump(mode="json")
    plain["source"]["uri"] = redact(config.source.uri)
    return {
        "commit": commit(),
        "command": command,
        "models": _models(config) if models else None,
        "backend": getattr(config.tracker, "backend", "torch"),
        "precision": precision(config) if models else None,
        "transport": config.transport.kind,
        "page": page,
        "handicap_ms": handicap_ms,
        "versions": provenance.versions(),
        "machine": machine(),
        "input": {"uri": redact(config.source.uri), "sha256": input_sha256(config)},
        "config": plain,
        "unix_time": int(time.time()),
    }


def commit() -> dict[str, Any] | None:
    """Return the commit of the code that runs and whether it was changed since; None elsewhere."""
    root = Path(stream.__file__).parents[1]

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not (root / ".git").exists():
            return None
        found = git("rev-parse", "HEAD")
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"sha": found, "changed": changed} if found else None


def machine() -> dict[str, Any]:
    """Return what speed depends on, and how busy the machine was."""
    return {
        **provenance.machine(),
        "processor": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def precision(config: Config) -> str:
    """Return the precision that the tracker runs in."""
    from engines.precision import choose_precision

    return choose_precision(config.tracker.precision, config.tracker.device)


def input_sha256(config: Config) -> str | None:
    """Return a hash of the input: of the file, or of a drawn film's address, which decides it all.

    None for cameras and folders.
    """
    uri = config.source.uri
    scheme = scheme_of(uri)
    path = Path(uri.partition("://")[2].partition("?")[0] if scheme in ("clock", "tiff") else uri)
    if scheme in ("", "tiff", "clock") and path.is_file():
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    if scheme in ("demo", "clock"):
        return hashlib.sha256(uri.encode()).hexdigest()
    return None


def _models(config: Config) -> dict[str, Any]:
    return dict(provenance.models(config, with_texts=True))
