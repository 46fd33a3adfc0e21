"""Every frame's times as a Parquet file; needs pyarrow (the extra `bench`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from stream.bench.figures import is_detecting
from stream.bench.measure import Point
from stream.bench.samples import STEPS
from stream.errors import SinkError, UsageError

EXTRA: Final = "bench"
_STAMPS: Final = ("intended", *STEPS)


def check_installed() -> None:
    """Check that Parquet can be written.

    Raises:
        UsageError: pyarrow is missing.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            f"--samples needs pyarrow, which is not installed: pip install 'maskcast[{EXTRA}]'"
        )


def write(path: Path, points: Sequence[Point]) -> None:
    """Write one row for each frame that was delivered, warm-up included.

    Args:
        path: The file; replaced once it is complete.
        points: What was measured.

    Raises:
        SinkError: It cannot be written.
    """
    import pyarrow
    from pyarrow import parquet

    draft = path.with_name(f".{path.name}.part")
    try:
        parquet.write_table(pyarrow.Table.from_pylist(rows(points), _schema(pyarrow)), draft)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SinkError(f"{path}: cannot be written: {error.strerror or error}") from error


def rows(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the rows; a time that a frame does not have is None."""
    out = []
    for point in points:
        for number, part in enumerate(point.runs, 1):
            spans = [(look.submitted_ns, look.heard_ns) for look in part.run.detections]
            for place, sample in enumerate(part.run.samples):
                row: dict[str, Any] = {
                    "load": point.name,
                    "repetition": number,
                    "warm_up": place < part.warm_up,
                    "frame": sample.frame,
                    "origin_ns": sample.origin_ns,
                    "latency_ms": sample.latency_ms,
                    "objects": sample.objects,
                    "detecting": is_detecting(sample, spans),
                    "dropped": sum(sample.dropped.values()),
                }
                row |= {f"{name}_ns": sample.stamps.get(name) for name in _STAMPS}
                row["painted_ns"] = sample.painted_ns
                out.append(row)
    return out


def _schema(pyarrow: Any) -> Any:
    types = {
        "load": pyarrow.string(), "repetition": pyarrow.int32(), "warm_up": pyarrow.bool_(),
        "frame": pyarrow.int64(), "origin_ns": pyarrow.int64(), "latency_ms": pyarrow.float64(),
        "objects": pyarrow.int32(), "detecting": pyarrow.bool_(), "dropped": pyarrow.int64(),
    }  # fmt: skip
    return pyarrow.schema(
        [*types.items(), *((f"{name}_ns", pyarrow.int64()) for name in (*_STAMPS, "painted"))]
    )
