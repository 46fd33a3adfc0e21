"""The command line: usage errors are one line with status 2, defects one line with status 1."""

import json
import subprocess
import sys

import pytest

from stream import cli
from stream.commands import run as command
from stream.errors import SourceError
from stream.report import Report


@pytest.fixture
def maskcast(capsys, monkeypatch, tmp_path):
    """Run the command line in this process; returns status, stdout, lines on stderr."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([str(item) for item in arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err.splitlines()

    return run


@pytest.fixture
def ran(monkeypatch):
    """Replace the pipeline; returns the configurations that it was given."""
    import stream.pipeline

    given = []

    def run(config, observer, parts):
        given.append(config)
        return Report(exit=0)

    monkeypatch.setattr(stream.pipeline, "run", run)
    return given


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "--frams", "3"], ["No such option: --frams", "--frames"]),
        (["run", "--frames", "x"], ["Invalid value for '--frames'", "valid integer"]),
        (["rum"], ["No such command 'rum'"]),
        (["run", "--frames", "0"], ["frames: 0 is not accepted", "greater than or equal to 1"]),
        (["run", "--text", " "], ["texts.0: ' ' is not accepted", "at least one word"]),
        (["run", "nothing.yaml"], ["nothing.yaml: cannot read the configuration"]),
        (["run", "--report", "/no/r.json"], ["/no/r.json: there is no directory /no"]),
    ],
)
def test_bad_usage_is_one_line_and_status_2(maskcast, arguments, parts):
    status, out, err = maskcast(*arguments)
    assert status == 2
    assert out == ""
    (line,) = err
    assert line.startswith("maskcast: ")
    for part in parts:
        assert part in line


def test_options_reach_the_configuration(maskcast, ran, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("texts: [cat]\nnegatives: [tree]\ndetector: {every_n_frames: 4}\n")
    status, _, err = maskcast(
        *("run", config, "--source", "film.mp4", "--text", "红色的大狗", "--text", "a  car"),
        *("--negative", "sky", "--model", "sam2.1-tiny", "--weights", "random:0"),
        *("--clip", "ViT-B-32", "--clip-weights", "w.bin", "--frames", 9, "--seconds", 1.5),
        *("--record", tmp_path / "rec", "--no-web", "--web-port", 0, "--every", 3),
        *("--endpoint", "ipc:///tmp/x"),
    )
    assert (status, err) == (0, [])
    (found,) = ran
    assert found.source.uri == "film.mp4"
    assert found.texts == ["红色的大狗", "a car"]
    assert found.negatives == ["sky"]
    assert (found.tracker.model, found.tracker.weights) == ("sam2.1-tiny", "random:0")
    assert (found.detector.clip, found.detector.weights) == ("ViT-B-32", "w.bin")
    assert (found.frames, found.seconds, found.detector.every_n_frames) == (9, 1.5, 3)
    assert found.record.dir == tmp_path / "rec"
    assert (found.web.enabled, found.web.port) == (False, 0)
    assert found.publish.endpoint == "ipc:///tmp/x"


def test_what_is_not_given_leaves_the_file_alone(maskcast, ran, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("texts: [cat]\nweb: {enabled: false}\n")
    maskcast("run", config)
    assert ran[0].texts == ["cat"]
    assert ran[0].web.enabled is False
    maskcast("run", config, "--endpoint", "none")
    assert ran[1].publish.endpoint is None


def test_the_report_is_written_whatever_happens(maskcast, monkeypatch, tmp_path):
    import stream.pipeline

    def fail(*_, **__):
        raise RuntimeError("a\nbug rtsp://a:b@c/")

    monkeypatch.setattr(stream.pipeline, "run", fail)
    status, _, (line,) = maskcast("run", "--report", tmp_path / "r.json")
    (log,) = (tmp_path / "state" / "maskcast").iterdir()
    assert status == 1
    assert line == (
        "maskcast: RuntimeError: a bug rtsp://***@c/; this is a defect of maskcast: "
        f"please report it with {log}"
    )
    assert "Traceback" in log.read_text()
    assert "a:b" not in log.read_text()
    assert json.loads((tmp_path / "r.json").read_text())["exit"] == 1


def test_an_error_of_the_run_is_said_once_with_its_status(maskcast, monkeypatch):
    import stream.pipeline

    def fail(*_, **__):
        raise SourceError("rtsp://user:secret@cam/live: refused")

    monkeypatch.setattr(stream.pipeline, "run", fail)
    status, _, err = maskcast("run")
    assert (status, err) == (1, ["maskcast: rtsp://***@cam/live: refused"])


def test_ctrl_c_before_the_run_is_quiet(maskcast, monkeypatch):
    monkeypatch.setattr(command, "start", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert maskcast("run") == (130, "", [])


def test_help_and_version(maskcast):
    for arguments in ([], ["--help"]):
        status, out, err = maskcast(*arguments)
        assert (status, err) == (0, [])
        assert "run" in out
    assert maskcast("--version")[1].startswith("maskcast ")


def test_help_does_not_load_models_cameras_or_sockets():
    code = (
        "import sys, stream.cli\nstream.cli.build()\n"
        "print([m for m in ('torch', 'av', 'cv2', 'zmq', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
