"""The split by names, and kinds from a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.errors import UsageError
from stream.evaluate.aside import is_set_aside, kinds_in
from train.micro.data import is_held_out


@pytest.mark.parametrize("percent", [0, 1, 10, 37, 100])
def test_the_split_is_the_one_that_training_keeps_to(percent: int) -> None:
    names = [f"dsb2018/{number:016x}" for number in range(300)]
    ours = [is_set_aside(name, percent) for name in names]
    assert ours == [is_held_out(name, percent) for name in names]
    assert sum(ours) == pytest.approx(3 * percent, abs=20)


def test_kinds_come_from_the_columns_id_and_kind(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("id,h,kind\na,1,dark\nb,2,\nc,3,bright\n")
    assert kinds_in(tmp_path) == {"a": "dark", "c": "bright"}


def test_without_a_table_or_its_columns_there_are_no_kinds(tmp_path: Path) -> None:
    assert kinds_in(tmp_path) == {}
    (tmp_path / "index.csv").write_text("name,sort\na,dark\n")
    assert kinds_in(tmp_path) == {}


def test_a_table_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_bytes(b"id,kind\n\xff\xfe,x\n")
    with pytest.raises(UsageError, match=r"index\.csv: cannot read the kinds"):
        kinds_in(tmp_path)
