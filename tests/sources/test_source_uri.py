from __future__ import annotations

import pytest

from stream.config import SourceConfig
from stream.errors import UsageError
from stream.sources import open_source, redact
from stream.sources.connect import address_of
from stream.sources.uri import escape_credentials


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://host/film", "rtsp://host/film"),
        ("rtsp://user:secret@host:554/film", "rtsp://***@host:554/film"),
        ("rtsp://secret@host/film", "rtsp://***@host/film"),
        ("rtsp://user:se@cret@host/film", "rtsp://***@host/film"),
        ("rtsp://user:se/cr#e?t@host/film", "rtsp://***@host/film"),
        ("rtsp://user:5/cret@host/film", "rtsp://***@host/film"),
        ("rtsp://user:se:c%40ret@host/film", "rtsp://***@host/film"),
        ("rtsp://user:a@b/secret@host", "rtsp://***@host"),
        ("foo://user:secret@host", "foo://***@host"),
        ("http://h/v?channel=1&password=secret", "http://h/v?channel=1&password=***"),
        ("http://h/v?usr=joe&pwd=sec#ret&stream=0", "http://h/v?usr=***&pwd=***&stream=0"),
        ("http://h/v?access_token=secret", "http://h/v?access_token=***"),
        ("rtsp://h/user=joe&password=secret&channel=1", "rtsp://h/user=***&password=***&channel=1"),
        ("rtsp://h/user=joe_password=secret_channel=1.sdp", "rtsp://h/user=***"),
        ("rtsp://host/camera@2", "rtsp://host/camera@2"),
        ("/films/user:secret@x.mp4", "/films/user:secret@x.mp4"),
        ("demo://cells?objects=3", "demo://cells?objects=3"),
    ],
)
def test_redact(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("rtsp://host/a@b", "rtsp://host/a@b"),
        ("rtsp://host:554/a@b", "rtsp://host:554/a@b"),
        ("rtsp://u:p@host/film", "rtsp://u:p@host/film"),
        ("rtsp://u:p@q@host/film", "rtsp://u:p%40q@host/film"),
        ("rtsp://u:p/q#r?s:t@host:1/film", "rtsp://u:p%2Fq%23r%3Fs%3At@host:1/film"),
        ("rtsp://u:p%40q@host/film", "rtsp://u:p%40q@host/film"),
        ("rtsp://u:50%@host/film", "rtsp://u:50%25@host/film"),
    ],
)
def test_credentials_are_encoded_as_ffmpeg_needs_them(uri: str, url: str) -> None:
    assert escape_credentials(uri) == url


def message(uri: str) -> str:
    with pytest.raises(UsageError) as caught:
        open_source(SourceConfig(uri=uri))
    return str(caught.value)


def test_unknown_scheme_names_the_accepted_ones_and_no_secret() -> None:
    assert message("foo://user:secret@host/x") == (
        "foo://***@host/x: scheme foo:// is not known; accepted are demo://, clock://, rtsp://, "
        "rtsps://, http://, https://, v4l2://, tiff://, and a path: a folder or glob of pictures, "
        "a TIFF stack or a film"
    )


def test_empty_source() -> None:
    assert message("  ") == ("the source is empty; give a path or an address such as demo://cells")


@pytest.mark.parametrize("uri", ["rtsp://", "rtsp:///film", "rtsp://joe:secret@host:port/film"])
def test_address_without_host_or_with_a_wrong_port(uri: str) -> None:
    text = message(uri)
    assert text.startswith(f"{redact(uri)}: has no host or a wrong port; accepted is rtsp://")
    assert "secret" not in text


def test_rtsp_options_carry_transport_and_timeouts() -> None:
    config = SourceConfig(uri="rtsp://joe:secret@h/f", rtsp_transport="udp", read_timeout_s=2.5)
    address = address_of(config)
    assert address.options["rtsp_transport"] == "udp"
    assert address.options["timeout"] == "2500000"
    assert address.container_format is None
    assert "secret" not in repr(address)
    assert "secret" in address.url
    assert address_of(SourceConfig(uri="rtsp://h/f")).options["rtsp_transport"] == "tcp"


def test_http_options_carry_the_read_timeout() -> None:
    options = address_of(SourceConfig(uri="http://h/v.mjpg", read_timeout_s=1)).options
    assert options["rw_timeout"] == "1000000"
    assert "rtsp_transport" not in options


def test_v4l2_options() -> None:
    address = address_of(
        SourceConfig(uri="v4l2:///dev/video3?width=1280&height=720&fps=15&format=mjpeg")
    )
    assert (address.url, address.container_format) == ("/dev/video3", "v4l2")
    assert address.options == {
        "video_size": "1280x720", "framerate": "15", "input_format": "mjpeg",
    }  # fmt: skip
    assert address_of(SourceConfig(uri="v4l2:///dev/video0")).options == {}


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("v4l2://video0", "names no device; accepted is v4l2:///dev/video0"),
        ("v4l2:///dev/video0?w=3", "no such field 'w'; accepted are width, height, fps, format"),
        ("v4l2:///dev/video0?fps=-1", "fps='-1' is not a whole number above 0"),
        ("v4l2:///dev/video0?width=9", "width and height are given together or not at all"),
    ],
)
def test_wrong_v4l2(uri: str, reason: str) -> None:
    assert message(uri) == f"{uri}: {reason}"


def test_v4l2_device_that_is_not_there() -> None:
    source = open_source(SourceConfig(uri="v4l2:///dev/video97"))
    with pytest.raises(Exception, match="no such device or stream; check the name"):
        source.open()
