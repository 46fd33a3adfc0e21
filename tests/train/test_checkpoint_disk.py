"""A disk that refuses: one error, nothing half written, the checkpoint before it whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stream.commands.train.writing import writes_into
from stream.errors import SinkError, UsageError
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


@pytest.mark.parametrize("junk", [b"", b"no checkpoint", b"PK\x03\x04", b"\x80\x02}q\x00."[:-1]])
def test_a_damaged_checkpoint_is_told(junk: bytes, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(junk)
    with pytest.raises(UsageError, match=r"last\.pt: damaged, or no checkpoint; begin in another"):
        load_checkpoint(path)


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "last.pt")
    with pytest.raises(UsageError, match="holds list and no training"):
        load_checkpoint(tmp_path / "last.pt")


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
