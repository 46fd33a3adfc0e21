"""The report's file: its keys, its atomic writing, what is refused before a run."""

import json
import os

import pytest

from stream.errors import SinkError, UsageError
from stream.report import Report, check_writable, digest

KEYS = {
    "frames",
    "dropped",
    "latency_ms",
    "age_ms",
    "stages",
    "detection",
    "objects",
    "rss_mb",
    "errors",
}


def test_the_file_has_the_designs_keys_even_for_a_run_that_never_began(tmp_path):
    path = tmp_path / "r.json"
    Report(errors=["film.mp4: no such file"], exit=2).write(path)
    found = json.loads(path.read_text())
    assert set(found) >= KEYS
    assert set(found["frames"]) == {"read", "tracked", "published"}
    assert set(found["latency_ms"]) == set(found["age_ms"]) == {"p50", "p90", "p99", "max"}
    assert set(found["detection"]) == {"events", "accepted", "late_frames"}
    assert set(found["objects"]) == {"now", "ever"}
    assert set(found["rss_mb"]) == {"first", "last", "max"}
    assert found["errors"] == ["film.mp4: no such file"]
    assert found["exit"] == 2


def test_a_report_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        SinkError, match=r"r.json: cannot write the report: No space left on device"
    ):
        Report().write(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]


def test_a_device_is_written_directly():
    Report().write(__import__("pathlib").Path(os.devnull))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is a directory; --report needs the name of a file"),
        ("missing/r.json", "there is no directory .*/missing; make it first"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path, name, reason):
    with pytest.raises(UsageError, match=reason):
        check_writable(tmp_path / name)


def test_a_read_only_directory_is_refused(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(UsageError, match="cannot write the report: Permission denied"):
        check_writable(tmp_path / "r.json")


def test_checking_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_the_digest_follows_values_and_not_their_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
