"""The wheel ships our four packages, the weights and the page, and nothing of tests or tools."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(out),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
        timeout=100,
    )
    (wheel,) = out.glob("maskcast-*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_top_level_names(names: list[str]) -> None:
    top = {name.split("/")[0] for name in names}
    packages = {name for name in top if not name.startswith("maskcast-")}
    assert packages == {"stream", "engines", "export", "train"}


def test_data_files_travel_along(names: list[str]) -> None:
    for wanted in (
        "engines/weights/micro_sam2.safetensors",
        "engines/weights/micro_clip.safetensors",
        "engines/weights/micro_finder.safetensors",
        "engines/weights/micro_refiner.safetensors",
        "engines/weights/SHA256SUMS",
        "engines/weights/micro_calibration.json",
        "engines/weights/MODEL_CARD.md",
        "engines/configs/micro.yaml",
        "engines/configs/micro_clip.json",
        "stream/web/static/index.html",
    ):
        assert wanted in names
    for shared in ("demo.yaml", "train/micro.yaml"):
        assert any(name.endswith(f"share/maskcast/configs/{shared}") for name in names)


def test_each_package_says_whose_it_is() -> None:
    import engines
    import export
    import stream
    import train

    for package in (stream, engines, export, train):
        assert package.__distribution__ == "maskcast"
