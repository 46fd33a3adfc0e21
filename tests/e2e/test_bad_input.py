"""Bad input: one clear line, the right exit status, no traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.e2e.conftest import Outcome

Maskcast = Callable[..., Outcome]
QUIET = ("--no-web", "--endpoint", "none")


def refused(outcome: Outcome, status: int, *parts: str) -> None:
    assert outcome.status == status, outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    lines = [line for line in outcome.err.splitlines() if line.startswith("maskcast: ")]
    assert lines, outcome.err
    for part in parts:
        assert part in lines[-1], lines[-1]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(np.full((64, 64, 3), 40 * index, np.uint8)).save(folder / f"{index}.png")
    return folder


def test_missing_file(maskcast: Maskcast) -> None:
    refused(maskcast("run", "--source", "nothing.mp4", *QUIET), 2, "nothing.mp4")


def test_not_a_video(maskcast: Maskcast, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 50)
    refused(maskcast("run", "--source", "text.mp4", *QUIET), 2, "text.mp4")


def test_zero_length_video(maskcast: Maskcast, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    refused(maskcast("run", "--source", "empty.mp4", *QUIET), 2, "empty.mp4")


def test_corrupt_video(maskcast: Maskcast, tmp_path: Path, nuclei_film: Path) -> None:
    data = bytearray(nuclei_film.read_bytes())
    data[64:] = bytes(len(data) - 64)
    (tmp_path / "broken.mp4").write_bytes(data)
    refused(maskcast("run", "--source", "broken.mp4", *QUIET), 2, "broken.mp4")


def test_refused_rtsp_hides_the_password(maskcast: Maskcast) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"rtsp://me:s3cret@127.0.0.1:{port}/film"
    outcome = maskcast("run", "--source", uri, *QUIET)
    refused(outcome, 1, f"127.0.0.1:{port}")
    assert "s3cret" not in outcome.err + outcome.out


def test_empty_text(maskcast: Maskcast, film: Path) -> None:
    refused(
        maskcast("run", "--source", film, "--text", "  ", *QUIET), 2, "texts", "at least one word"
    )


def test_unknown_model(maskcast: Maskcast, film: Path) -> None:
    outcome = maskcast("run", "--source", film, "--model", "sam9", *QUIET)
    refused(outcome, 2, "'sam9'", "micro", "sam2.1-tiny")


def test_official_weights_that_are_not_here(maskcast: Maskcast, film: Path) -> None:
    outcome = maskcast("run", "--source", film, "--model", "sam2.1-tiny", *QUIET)
    refused(outcome, 2, "sam2.1_hiera_tiny.pt", "huggingface-cli download", "micro")


def test_unreadable_checkpoint(maskcast: Maskcast, film: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    outcome = maskcast("run", "--source", film, "--weights", "bad.pt", *QUIET)
    refused(outcome, 2, "bad.pt", "not readable as weights")


def test_foreign_checkpoint(maskcast: Maskcast, film: Path, tmp_path: Path) -> None:
    torch.save({"model": {"layer.weight": torch.zeros(2)}}, tmp_path / "other.pt")
    outcome = maskcast("run", "--source", film, "--weights", "other.pt", *QUIET)
    refused(outcome, 2, "other.pt", "not of micro", "unexpected (layer.weight)")


def test_bad_key_and_bad_value_in_the_config(maskcast: Maskcast, tmp_path: Path) -> None:
    (tmp_path / "key.yaml").write_text("tracker: {modle: micro}\n")
    refused(maskcast("run", "key.yaml"), 2, "tracker.modle", "did you mean 'model'")
    (tmp_path / "value.yaml").write_text("web: {port: 70000}\n")
    refused(maskcast("run", "value.yaml"), 2, "web.port", "70000", "65535")


def test_unknown_option(maskcast: Maskcast) -> None:
    outcome = maskcast("run", "--sauce", "x")
    assert outcome.status == 2
    assert "Traceback" not in outcome.err
    assert "--sauce" in outcome.err


@pytest.mark.parametrize("taken", ["web", "endpoint"])
def test_port_in_use(maskcast: Maskcast, film: Path, taken: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        if taken == "web":
            args = ["--web-port", port, "--endpoint", "none"]
        else:
            args = ["--no-web", "--endpoint", f"tcp://127.0.0.1:{port}"]
        outcome = maskcast("run", "--source", film, *args)
    refused(outcome, 1, str(port), "in use")


def test_report_that_cannot_be_written_is_refused_before_the_run(
    maskcast: Maskcast, film: Path
) -> None:
    outcome = maskcast("run", "--source", film, "--report", "no/such/folder/r.json", *QUIET)
    refused(outcome, 2, "no/such/folder")
