"""The log, the curves and what is shown of a training."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from train.progress import Reporter, curve_of, draw_curves, read_log


def test_rows_are_means_and_a_resumed_log_goes_on(tmp_path: Path) -> None:
    out = io.StringIO()
    with Reporter(tmp_path, "train", every=2, out=out) as reporter:
        for step in range(1, 6):
            reporter.step(step, step / 10, {"loss": float(step)})
        reporter.row({"step": 4, "held_out": 0.5})
        reporter.note("so far")
    assert curve_of(read_log(reporter.path), "loss") == [(2.0, 1.5), (4.0, 3.5)]
    assert "train: step 1, loss 1.000, 10%" in out.getvalue()
    assert "so far" in out.getvalue()
    reporter.path.write_text(reporter.path.read_text() + '{"step": 6, "lo')
    with Reporter(tmp_path, "train", every=1, resume_at=2, show=False) as again:
        again.step(3, 1.0, {"loss": float("nan")})
    rows = read_log(again.path)
    assert [row["step"] for row in rows] == [2, 3]
    assert rows[1]["loss"] is None
    assert curve_of(rows, "loss") == [(2.0, 1.5)]
    with Reporter(tmp_path, "train", show=False) as anew:
        assert read_log(anew.path) == []


def test_the_last_row_is_written_whatever_its_number(tmp_path: Path) -> None:
    with Reporter(tmp_path, "train", every=20, show=False) as reporter:
        reporter.step(7, 1.0, {"loss": 2.0})
    assert json.loads(reporter.path.read_text()) == {"step": 7, "loss": 2.0}


def test_curves_are_drawn(tmp_path: Path) -> None:
    falling = [(float(x), 1.0 / (x + 1)) for x in range(40)]
    path = tmp_path / "deep" / "loss.png"
    draw_curves(path, {"loss": {"all": falling}, "none": {"gone": []}, "one": {"point": [(1, 2)]}})
    with Image.open(path) as picture:
        pixels = np.array(picture)
    assert pixels.shape == (480, 640, 3)
    blue = (pixels[:240] == (31, 119, 180)).all(axis=-1)
    _, columns = np.nonzero(blue[40:])
    assert columns.max() - columns.min() > 500
    draw_curves(path, {})
