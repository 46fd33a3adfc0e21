"""What is told of a GPU, with one that is not there."""

from __future__ import annotations

import pytest
import torch

from stream.core.gpu import GpuGauge


def test_nothing_without_cuda() -> None:
    assert GpuGauge("cpu").read() is None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A device of 1000 bytes; the list holds what was asked of NVML."""
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (400, 1000))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 200)

    def utilization(device: str) -> int:
        asked.append(device)
        return 25

    monkeypatch.setattr(torch.cuda, "utilization", utilization)
    return asked


def test_memory_and_load_once_a_second(cuda: list[str]) -> None:
    now_s = 0.0
    gauge = GpuGauge("cuda:1", lambda: now_s)
    assert gauge.read() == {
        "device": "1", "allocated_bytes": 100, "reserved_bytes": 200, "used_bytes": 600,
        "total_bytes": 1000, "load": 0.25,
    }  # fmt: skip
    now_s = 0.9
    gauge.read()
    assert cuda == ["cuda:1"]
    now_s = 1.0
    gauge.read()
    assert cuda == ["cuda:1"] * 2


def test_without_nvml_it_is_asked_once_only(
    cuda: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(device: str) -> int:
        cuda.append(device)
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", missing)
    times_s = iter(range(0, 100, 2))
    gauge = GpuGauge("cuda", lambda: next(times_s))
    for _ in range(3):
        found = gauge.read()
        assert found is not None
        assert "load" not in found
        assert found["device"] == "0"
    assert len(cuda) == 1
