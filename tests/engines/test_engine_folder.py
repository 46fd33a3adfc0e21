"""Exported folders: found where they belong, refused when they are stale, and why, in one line."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import msgspec
import pytest

from engines.backends import Network, Running
from engines.engine_folder import Wanted, find
from engines.errors import ModelError
from engines.manifest import (
    FILE,
    GRAPHS,
    Exported,
    Manifest,
    default_folder,
    engines_folder,
    read,
    write,
)
from engines.networks import sam2_networks
from engines.registry import load_sam2
from export.formats import write as write_network

WEIGHTS = "random:3"
COMMAND = "maskcast export micro --to torch --only sam2"


@cache
def networks() -> dict[str, Network]:
    return sam2_networks(load_sam2("micro", WEIGHTS, 64).model, ("shared_queries",))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKCAST_ENGINES", str(tmp_path))


def exported(backend: str = "torch", **changed: object) -> Path:
    """Write a folder as an export would."""
    folder = default_folder("sam2", "micro", 64, backend, WEIGHTS)
    folder.mkdir(parents=True)
    suffix = {"torch": ".safetensors", "openvino": ".xml"}[backend]
    file = f"shared_queries{suffix}"
    write_network(backend, networks()["shared_queries"], folder / file, "fp32", [])
    manifest = Manifest(
        kind="sam2", model="micro", weights=WEIGHTS, image_size=64, backend=backend,
        networks={"shared_queries": Exported(file, "fp32", "")}, graphs=GRAPHS, versions={},
        command=COMMAND,
    )  # fmt: skip
    write(folder, msgspec.structs.replace(manifest, **changed))
    return folder


def wanted(backend: str = "auto", **changed: object) -> Wanted:
    return dataclasses.replace(Wanted("sam2", "micro", WEIGHTS, 64, backend), **changed)  # type: ignore[arg-type]


def test_a_folder_is_found_by_model_size_backend_and_weights() -> None:
    exported("torch")
    found = find(wanted("torch", folder=default_folder("sam2", "micro", 64, "torch", WEIGHTS)),
                 networks(), Running())  # fmt: skip
    assert found.backend == "torch"
    assert found.runners is not None
    assert found.precisions == {"shared_queries": "fp32"}


def test_auto_takes_what_is_exported_and_says_so() -> None:
    found = find(wanted(), networks(), Running())
    assert (found.backend, found.runners) == ("torch", None)
    assert found.why == (
        "nothing faster is exported; `maskcast export micro --to openvino --image-size 64` makes it"
    )
    exported("openvino")
    found = find(wanted(), networks(), Running())
    assert found.backend == "openvino"
    assert found.why == "openvino is the fastest that is exported here"


def test_auto_says_why_a_stale_folder_is_not_taken() -> None:
    exported("openvino", graphs=0)
    found = find(wanted(), networks(), Running())
    assert found.runners is None
    assert f"is stale: its graphs is 0, needed is {GRAPHS}" in found.why


def test_a_backend_that_was_named_must_be_there() -> None:
    with pytest.raises(ModelError) as error:
        find(wanted("openvino"), networks(), Running())
    assert str(error.value) == (
        "micro is not exported for openvino at 64 px with these weights; make it with "
        "`maskcast export micro --to openvino --image-size 64`"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights": "random:4"}, "its weights is 'random:4', needed is 'random:3'"),
        ({"image_size": 128}, "its image_size is 128, needed is 64"),
        ({"graphs": 99}, f"its graphs is 99, needed is {GRAPHS}"),
        ({"model": "sam2.1-tiny"}, "its model is 'sam2.1-tiny', needed is 'micro'"),
    ],
)
def test_a_stale_folder_names_what_differs_and_the_command(
    changed: dict[str, object], said: str
) -> None:
    folder = exported("torch", **changed)
    with pytest.raises(ModelError) as error:
        find(wanted("torch", folder=folder), networks(), Running())
    assert said in str(error.value)
    assert f"make it anew with `{COMMAND}`" in str(error.value)


def test_a_missing_file_is_named() -> None:
    folder = exported("torch")
    (folder / "shared_queries.safetensors").unlink()
    with pytest.raises(
        ModelError, match=r"shared_queries\.safetensors of shared_queries is missing"
    ):
        find(wanted("torch", folder=folder), networks(), Running())


def test_a_network_that_was_not_exported_is_named() -> None:
    folder = exported("torch")
    more = {**networks(), "other": networks()["shared_queries"]}
    with pytest.raises(ModelError, match=f"has no other; make it anew with `{COMMAND}`"):
        find(wanted("torch", folder=folder), more, Running())


def test_another_precision_is_not_taken_for_the_one_that_was_asked_for() -> None:
    folder = exported("torch")
    with pytest.raises(ModelError, match=r"was made in fp32, asked for is bf16"):
        find(wanted("torch", folder=folder, precision="bf16"), networks(), Running())


@pytest.mark.parametrize("content", ["", "{}", '{"kind": "sam2", "more": 1}'])
def test_a_damaged_manifest_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ModelError, match="cannot be read") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no manifest.json; make it with `maskcast export`"):
        read(tmp_path)


def test_manifests_come_back_as_they_went(tmp_path: Path) -> None:
    folder = exported("torch")
    manifest = read(folder)
    write(tmp_path, manifest)
    assert read(tmp_path) == manifest


def test_where_engines_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert engines_folder() == tmp_path
    monkeypatch.delenv("MASKCAST_ENGINES")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert engines_folder() == Path("/some/cache/maskcast/engines")
    name = default_folder("clip", "ViT-B-32/laion", 448, "openvino", "ab" * 32).name
    assert name == "clip-ViT-B-32_laion-448px-openvino-ababababab"
