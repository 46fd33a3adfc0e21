"""Backends: the numbers of torch, few shapes for many objects, clear words where one lacks."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch

from engines.backends import BACKENDS, BackendError, Network, Running, choose, get
from engines.backends import openvino_backend as openvino_module
from engines.backends.objects import join, sizes_of, split
from engines.backends.torch_backend import TorchRunner
from engines.networks import sam2_networks
from engines.registry import load_sam2
from export.formats import write

SIDE = 64
SIZES = {"B": 3, "R": 1, "n": 16, "K": 40, "P": 3, "s": 4, "s2": 8, "s4": 16}
NETWORKS = ("image_encoder", "shared_queries", "memory_attention", "mask_decoder", "memory_encoder")


@cache
def network(name: str) -> Network:
    return sam2_networks(load_sam2("micro", "random:3", SIDE).model, (name,))[name]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_torch_gives(backend: str, name: str, tmp_path: Path) -> None:
    net, runs = network(name), get(backend)
    path = tmp_path / f"{name}{runs.suffix}"
    inputs = net.example(SIZES)
    write(backend, net, path, "fp32", [inputs])
    runner = runs.load(path, net, "fp32", Running())
    reference = TorchRunner(net, "fp32", Running())
    for count in (3, 1):  # a graph that was traced with one number of objects serves others
        for shared in (1, count):  # and tensors that all share, or that each has
            inputs = net.example({**SIZES, "B": count, "R": shared}, seed=count)
            wanted, found = reference(inputs), runner(inputs)
            assert found.keys() == wanted.keys()
            for port, tensor in wanted.items():
                assert found[port].shape == tensor.shape
                assert torch.allclose(found[port], tensor, atol=2e-4, rtol=1e-4), port


def test_results_are_the_callers_to_keep(tmp_path: Path) -> None:
    net = network("shared_queries")
    write("openvino", net, tmp_path / "q.xml", "fp32", [])
    runner = get("openvino").load(tmp_path / "q.xml", net, "fp32", Running())
    first = runner(net.example(SIZES, 1))["x"]
    kept = first.clone()
    runner(net.example(SIZES, 2))
    assert torch.equal(first, kept)


@pytest.mark.parametrize(
    ("precision", "fuses", "plain"),
    [("bf16", False, True), ("bf16", True, False), ("fp32", False, False)],
)
def test_attention_is_fused_by_openvino_only_where_that_is_right(
    precision: str, fuses: bool, plain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network("image_encoder")
    write("openvino", net, tmp_path / "e.xml", "fp32", [])
    monkeypatch.setattr(type(net), "fuses", fuses)
    runner = get("openvino").load(tmp_path / "e.xml", net, precision, Running())
    assert (runner._properties.get("SNIPPETS_MODE") == "DISABLE") == plain


_SIGNALLED = """
import signal, sys
from pathlib import Path
from engines.backends import Running, get
from engines.networks import sam2_networks
from engines.registry import load_sam2

net = sam2_networks(load_sam2("micro", "random:3", 64).model, ("shared_queries",))["shared_queries"]
load = lambda: get("openvino").load(Path(sys.argv[1]), net, "fp32", Running())
first, second = load(), load()
for runner in (first, second):
    runner(net.example({"B": 3, "R": 1}))
del first, runner
del second
heard = []
signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
signal.raise_signal(signal.SIGTERM)
print(heard)
"""


def test_a_signal_is_survived_after_openvino_is_gone(tmp_path: Path) -> None:
    write("openvino", network("shared_queries"), tmp_path / "q.xml", "fp32", [])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _SIGNALLED, str(tmp_path / "q.xml")],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[15]\n"), done.stderr[-500:]


def test_openvino_keeps_what_it_compiled(tmp_path: Path) -> None:
    net = network("shared_queries")
    write("openvino", net, tmp_path / "q.xml", "fp32", [])
    for precision in ("fp32", "bf16"):
        how = Running(cache=tmp_path / precision)
        get("openvino").load(tmp_path / "q.xml", net, precision, how)(net.example(SIZES))
        assert list((tmp_path / precision).rglob("*.blob"))


def test_threads_may_share_a_runner_of_openvino(tmp_path: Path) -> None:
    net = network("image_encoder")
    write("openvino", net, tmp_path / "e.xml", "fp32", [])
    runner = get("openvino").load(tmp_path / "e.xml", net, "fp32", Running())
    asked = [net.example(SIZES, seed) for seed in range(8)]
    alone = [runner(inputs)["top"] for inputs in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda inputs: runner(inputs)["top"], asked * 4))
    for found, wanted in zip(together, alone * 4, strict=True):
        assert torch.equal(found, wanted)


def test_openvino_forgets_the_shape_unused_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_module, "MOST_SHAPES", 2)
    net = network("memory_attention")
    write("openvino", net, tmp_path / "a.xml", "fp32", [])
    runner = get("openvino").load(tmp_path / "a.xml", net, "fp32", Running())
    for tokens in (20, 30, 20, 40):
        runner(net.example({**SIZES, "B": 1, "K": tokens}))
    kept = [shapes[3][1] for shapes in runner._compiled]
    assert kept == [20, 40]


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(13, 8, [8, 4, 1]), (1, 8, [1]), (20, 8, [8, 8, 4]), (16, 16, [16]), (3, 1, [1, 1, 1])],
)
def test_objects_are_computed_in_powers_of_two(count: int, most: int, sizes: list[int]) -> None:
    assert list(sizes_of(count, most)) == sizes


def test_what_is_split_is_joined_again() -> None:
    net = network("memory_attention")
    for shared in (1, 5):
        inputs = net.example({**SIZES, "B": 5, "R": shared})
        inputs["x"][:, 0, 0] = torch.arange(5.0)
        parts = list(split(inputs, net.signature, 4))
        assert [len(part["x"]) for part in parts] == [4, 1]
        assert [len(part["places"]) for part in parts] == ([1, 1] if shared == 1 else [4, 1])
        joined = join([{"x": part["x"]} for part in parts])["x"]
        assert torch.equal(joined, inputs["x"])


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(BackendError, match=r"backend 'onix' is unknown; accepted are auto, "):
        get("onix")


def test_auto_takes_the_fastest_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("cpu")[0].name == "openvino"
    monkeypatch.setattr(BACKENDS["openvino"], "missing", lambda device: "gone", raising=False)
    backend, why = choose("cpu")
    assert backend.name == "onnxruntime"
    assert "openvino: gone" in why
    assert choose("cpu", ("torch",))[0].name == "torch"


def test_what_a_backend_lacks_is_said() -> None:
    assert get("tensorrt").missing("cpu") == "it runs on an NVIDIA card, not on cpu"
    assert get("openvino").missing("cuda:0") == "it runs on the processor, not on cuda:0"
    with pytest.raises(BackendError, match="backend tensorrt: it runs on an NVIDIA card"):
        get("tensorrt").load(Path("x.ep"), network("shared_queries"), "fp16", Running())


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_damaged_file_is_one_line(backend: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{get(backend).suffix}"
    path.write_text("this is no network")
    with pytest.raises(BackendError, match="export it again") as error:
        get(backend).load(path, network("shared_queries"), "fp32", Running())
    assert "\n" not in str(error.value)


def test_foreign_weights_are_one_line(tmp_path: Path) -> None:
    write("torch", network("shared_queries"), tmp_path / "q.safetensors", "fp32", [])
    with pytest.raises(BackendError, match="not the weights of this network") as error:
        get("torch").load(tmp_path / "q.safetensors", network("mask_decoder"), "fp32", Running())
    assert "\n" not in str(error.value)


def test_torch_in_bf16_is_near(tmp_path: Path) -> None:
    net = network("memory_attention")
    write("torch", net, tmp_path / "a.safetensors", "bf16", [])
    runner = get("torch").load(tmp_path / "a.safetensors", net, "bf16", Running())
    inputs = net.example(SIZES)
    wanted = TorchRunner(net, "fp32", Running())(inputs)["conditioned"]
    found = runner(inputs)["conditioned"]
    assert found.dtype == torch.float32
    assert 0 < float((found - wanted).norm() / wanted.norm()) < 0.05
