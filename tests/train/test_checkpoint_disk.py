"""A disk that refuses: one error, nothing half written, the checkpoint before it whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stream.commands.train.writing import writes_into
from stream.errors import SinkError
from train import checkpoint
from train.checkpoint import export_weights, load_checkpoint, save_checkpoint


def fails(*_: Any, **__: Any) -> None:
    raise RuntimeError("PytorchStreamWriter failed writing file")


def test_a_failed_write_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    def half(state: Any, partial: Path) -> None:
        partial.write_bytes(b"half")
        fails()

    monkeypatch.setattr(checkpoint.torch, "save", half)
    with pytest.raises(OSError, match="perhaps for want of room"):
        save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.pt"]


def test_weights_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "save_file", fails)
    with pytest.raises(OSError, match="perhaps for want of room"):
        export_weights({"w": torch.zeros(1)}, tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_user_reads_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(SinkError) as caught,
        writes_into(tmp_path, "go on with --resume"),
    ):
        raise OSError(28, "No space left on device", str(tmp_path / "last.pt"))
    assert str(caught.value) == (
        f"{tmp_path}/last.pt: cannot be written: No space left on device; what was saved before "
        f"is whole: make room in {tmp_path}, and go on with --resume"
    )
