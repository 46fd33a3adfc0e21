"""What is noise, what is a change, what is a regression, and where."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stream.bench import compare_table
from stream.bench.compare import compare
from stream.bench.document import document, read
from stream.errors import UsageError
from tests.bench.made import MANIFEST, point


def result(**made: Any) -> dict[str, Any]:
    return document([point(**made)], copy.deepcopy(MANIFEST), 4.0, partial=False)


def test_repetitions_of_the_same_thing_are_equal() -> None:
    found = compare(result(), result(slower_ms=0.3))
    assert found.real == found.regressions == []
    assert compare_table.verdict(found, 10) == ["equal: nothing changed beyond noise"]


def test_a_slower_tracker_is_a_regression_in_the_tracker() -> None:
    found = compare(result(), result(slower_ms=20))
    assert {change.name for change in found.regressions} >= {"latency", "model", "tracked"}
    assert [change.name for change in found.culprits()] == ["tracked"]
    assert found.culprits()[0].change == pytest.approx(20)
    assert "picked" not in {change.name for change in found.real}
    assert "the step that got slower: tracked" in compare_table.verdict(found, 10)[1]


def test_faster_is_no_regression() -> None:
    found = compare(result(slower_ms=20), result())
    assert found.real
    assert found.regressions == []
    assert compare_table.verdict(found, 10) == ["no regression beyond 10 %"]


def test_the_bound_decides_what_is_a_regression() -> None:
    found = compare(result(), result(slower_ms=20), bound_percent=50)
    assert "latency" in {change.name for change in found.real}
    assert "latency" not in {change.name for change in found.regressions}
    assert "tracked" in {change.name for change in found.regressions}  # 30 ms became 50
    assert compare(result(), result(slower_ms=20), bound_percent=70).regressions == []


def test_noise_hides_what_is_smaller_than_it() -> None:
    assert compare(result(spread_ms=15), result(slower_ms=10, spread_ms=15)).real == []


def test_what_is_tiny_does_not_matter_however_sure() -> None:
    found = compare(result(spread_ms=0), result(slower_ms=1, spread_ms=0))
    assert found.real == []  # 1 ms of 62 is less than 2 %
    assert compare(result(spread_ms=0), result(slower_ms=2, spread_ms=0)).real != []


def test_one_repetition_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="--repeat 2"):
        compare(result(runs=1), result())


def test_loads_are_compared_by_name() -> None:
    other = result()
    other["points"][0]["name"] = "source.fps=60"
    with pytest.raises(UsageError, match="no load in common"):
        compare(result(), other)


def test_what_else_differs_is_said() -> None:
    other = result()
    other["manifest"]["machine"]["processor"] = "another"
    other["manifest"]["machine"]["load"] = [3.5, 2.0, 1.0]
    other["manifest"]["config"]["texts"] = ["dog"]
    said = compare(result(), other).notes
    assert "machine.processor differs: <fast> and another" in said
    assert "the machine was not equally busy: load 0 and 3.5" in said
    assert "configurations differ" in said
    assert compare(result(), result()).notes == ["both are of commit aaaaaaaaaaaa"]


def test_the_table_names_what_is_worse() -> None:
    out = Console(file=io.StringIO(), width=160)
    compare_table.show(compare(result(), result(slower_ms=20)), 10, out)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    line = next(line for line in text.splitlines() if line.startswith("tracked") and "p50" in line)
    assert "30.0" in line
    assert "50.0" in line
    assert "+20.00" in line
    assert "worse" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not JSON"), ("{}", "no result of maskcast bench"), ("[]", "no result"),
     ('{"kind": "maskcast bench", "schema": 9}', "schema 9")],
)  # fmt: skip
def test_what_is_no_result_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.json")


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(result(), allow_nan=False))
    assert read(path) == result()
    assert read(path)["points"][0]["repetitions"][0]["series_ms"]["latency"]["p50"] == 61.5
