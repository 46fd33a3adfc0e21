from __future__ import annotations

import socket
import sys
import types

import pytest

from stream import doctor


def test_our_own_packages_are_ours() -> None:
    for name in doctor.PACKAGES:
        assert doctor.shadowed(name).verdict == "ok"


def test_a_shadowed_package_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    other = types.ModuleType("export")
    other.__file__ = "/somewhere/yolo/export.py"
    monkeypatch.setitem(sys.modules, "export", other)
    check = doctor.shadowed("export")
    assert check.verdict == "wrong"
    assert check.detail == "another 'export' shadows ours: /somewhere/yolo/export.py"
    assert "console script is safe" in check.remedy


def test_a_taken_port_is_a_note_with_a_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check = doctor.port_free(port)
    assert (check.verdict, check.name) == ("note", f"port {port}")
    assert "web.port" in check.remedy
    assert doctor.port_free(port).verdict == "ok"


def test_metrics_can_be_served_or_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    check = doctor._metrics()
    assert check.verdict == "ok"
    assert "--metrics-port" in check.detail
    monkeypatch.setitem(sys.modules, "stream.metrics", None)
    assert doctor._guarded("live metrics", doctor._metrics).verdict == "wrong"


def test_a_check_that_breaks_is_reported_and_not_raised() -> None:
    def broken() -> doctor.Check:
        raise OSError("libcudart.so.13: cannot open shared object file")

    check = doctor._guarded("torch runs", broken)
    assert check.verdict == "wrong"
    assert "libcudart.so.13" in check.detail
