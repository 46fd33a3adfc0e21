import dataclasses
import json

import pytest
from pycocotools import mask as coco

from stream import wire
from stream.errors import UsageError
from stream.sinks.jsonl import LineFile, from_line, read_recording, to_line


def test_both_directions(result):
    message = wire.to_message(result(3)[1], "main", published_ns=42)
    line = to_line(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert from_line(line) == message


def test_a_daughter_names_her_mother(result):
    masks = result(3)[1]
    daughter, other = masks.objects
    masks = dataclasses.replace(masks, objects=(dataclasses.replace(daughter, parent=9), other))
    message = wire.to_message(masks, "main")
    objects = json.loads(to_line(message))["objects"]
    assert objects[0]["parent"] == 9
    assert "parent" not in objects[1]
    assert from_line(to_line(message)) == message


def test_pycocotools_reads_the_json_as_it_is(result):
    masks = result(3)[1]
    fields = json.loads(to_line(wire.to_message(masks, "main")))
    names = "v stream frame pts_s captured_ns published_ns size objects dropped stamps"
    assert list(fields) == names.split()
    item = fields["objects"][0]
    assert isinstance(item["rle"]["counts"], str)
    assert coco.decode(item["rle"]).sum() == item["area"] == masks.objects[0].area


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: b"[]\n", "not a recorded message: Expected `object`"),
        (lambda line: line.replace(b'"confirmed"', b'"lovely"'), "not a recorded message: .*state"),
        (
            lambda line: line.replace(b'"v":1', b'"v":9'),
            "message version is 9; this reader knows 1",
        ),
    ],
)
def test_foreign_lines(result, change, reason):
    line = to_line(wire.to_message(result()[1], "main"))
    with pytest.raises(ValueError, match=reason):
        from_line(change(line))


@pytest.fixture
def recording(result, tmp_path):
    path = tmp_path / "masks.jsonl"
    path.write_bytes(b"".join(to_line(wire.to_message(result(i)[1], "main")) for i in range(3)))
    return path


def test_a_recording_is_read_by_file_and_by_folder(recording):
    assert [message.frame for message in read_recording(recording)] == [0, 1, 2]
    assert [message.frame for message in read_recording(recording.parent)] == [0, 1, 2]


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_torn_last_line_is_left_out(recording, cut):
    recording.write_bytes(recording.read_bytes()[:-cut])
    assert [message.frame for message in read_recording(recording)] == [0, 1]


def test_a_last_line_of_zeros_is_left_out(recording):
    recording.write_bytes(recording.read_bytes() + b"\0" * 300)
    assert [message.frame for message in read_recording(recording)] == [0, 1, 2]


def test_damage_in_the_middle_is_said(recording):
    lines = recording.read_bytes().splitlines(keepends=True)
    recording.write_bytes(lines[0] + lines[1][:30] + b"\n" + lines[2])
    reader = read_recording(recording)
    assert next(reader).frame == 0
    with pytest.raises(UsageError, match=r"masks\.jsonl line 2: not a recorded message"):
        next(reader)


def test_an_empty_and_a_missing_recording(tmp_path):
    (tmp_path / "masks.jsonl").touch()
    assert list(read_recording(tmp_path)) == []
    with pytest.raises(UsageError, match=r"none\.jsonl: cannot read the recording: No such file"):
        list(read_recording(tmp_path / "none.jsonl"))


def test_a_line_file_never_replaces_a_file(recording):
    with pytest.raises(FileExistsError):
        LineFile(recording)
    assert len(list(read_recording(recording))) == 3
