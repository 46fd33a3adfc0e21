"""`maskcast bench --streams-under`: more and more streams at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import stream.commands.bench as command
from stream.cli import main

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_streams_are_counted_until_they_are_too_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One stream at 150 a second is as old as a frame interval; within less, not even one is."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    monkeypatch.setattr(command, "PARTS", "fakes_bench:PARTS")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = tmp_path / "r.json"
    uri = "clock://cells?objects=2&width=192&height=160&fps=150&loop=4"
    base = ["bench", "--source", uri, "--seconds", "8", "--transport", "inproc"]
    with pytest.raises(SystemExit) as ended:
        main([*base, "--streams-under", "1", "--json", str(found)])
    assert not ended.value.code
    data = json.loads(found.read_text())
    assert data["streams"] == 0
    assert [trial["streams"] for trial in data["trials"]] == [1]
    assert data["trials"][0]["worst_age_p99_ms"] > 1
    assert "most streams within 1 ms: 0" in capsys.readouterr().out
