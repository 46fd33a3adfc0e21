"""The log file, and the last net under credentials."""

import pytest

from stream.logs import RunLog, redact


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("open rtsp://user:pw@cam/live failed", "open rtsp://***@cam/live failed"),
        ("rtsp://user:p@ss/w#rd:%40@cam:554/x", "rtsp://***@cam:554/x"),
        ("http://cam/x?user=me&password=geheim&fps=3", "http://cam/x?user=***&password=***&fps=3"),
        ("http://cam/x?TOKEN=abc", "http://cam/x?TOKEN=***"),
        ("rtsp://cam/live and mail@host", "rtsp://cam/live and mail@host"),
        ("nothing here", "nothing here"),
    ],
)
def test_credentials_are_taken_out(line, clean):
    assert redact(line) == clean


def test_a_log_is_made_with_its_first_line_and_removed_when_not_wanted(tmp_path):
    log = RunLog(tmp_path / "logs")
    assert not log.path.exists()
    log.write("tracker", "one\ntwo rtsp://a:b@c/")
    assert log.path.read_text() == "tracker: one\ntracker: two rtsp://***@c/\n"
    log.close(keep=False)
    assert list((tmp_path / "logs").iterdir()) == []
    log.write("tracker", "late")
    assert list((tmp_path / "logs").iterdir()) == []


def test_old_logs_do_not_pile_up(tmp_path):
    for number in range(30):
        (tmp_path / f"run-20200101-0000{number:02}-1.log").write_text("old")
    log = RunLog(tmp_path)
    log.write("tracker", "x")
    log.close(keep=True)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 20
    assert log.path.name in left


def test_a_disk_that_refuses_the_log_does_not_end_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    log = RunLog(tmp_path / "file" / "logs")
    log.write("tracker", "x")
    log.close(keep=True)
