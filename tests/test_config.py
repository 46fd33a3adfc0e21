from __future__ import annotations

from pathlib import Path

import pytest

from stream import config
from stream.errors import ConfigError, UsageError

CONFIGS = sorted(
    path
    for path in (Path(__file__).parents[1] / "configs").glob("*.yaml")
    if path.name != "prometheus.yaml"  # for Prometheus, not for a run
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"detector": {"every_n_frame": 3}},
            "detector.every_n_frame: no such key; did you mean 'every_n_frames'?",
        ),
        (
            {"detector": {"every_n_frames": 0}},
            "detector.every_n_frames: 0 is not accepted: it should be greater than or equal to 1",
        ),
        (
            {"source": {"policy": "x"}},
            "source.policy: 'x' is not accepted: it should be 'auto', 'latest' or 'every'",
        ),
        (
            {"texts": [" "]},
            "texts.0: ' ' is not accepted: a text must contain at least one word",
        ),
        ({"web": 3}, "web: 3 is not accepted"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_accepted(data: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.check(data)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("texts: [dog]\nsource: {uri: a.mp4, policy: every}\n")
    merged = config.load(path, {"source.uri": "b.mp4", "frames": 5})
    assert (merged.source.uri, merged.source.policy, merged.frames) == ("b.mp4", "every", 5)
    assert merged.texts == ["dog"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not a YAML file"),
        (b"- 1\n", "holds a list; a map of keys is needed"),
        (b"\xff\xfe\x00", "not a YAML file"),
    ],
)
def test_a_file_that_is_not_a_map_is_one_clear_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        config.load(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the configuration: No such file"):
        config.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_the_shipped_configurations_load(path: Path) -> None:
    config.load(path)


def test_texts_are_stripped_and_kept_in_any_script() -> None:
    assert config.check({"texts": ["  紅色的  大狗 "]}).texts == ["紅色的 大狗"]
