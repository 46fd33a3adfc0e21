import pytest

from stream.web.guard import host_allowed, origin_allowed


@pytest.mark.parametrize(
    ("host", "bound", "allowed"),
    [
        ("127.0.0.1:8080", "127.0.0.1", True),
        ("localhost:8080", "127.0.0.1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("[::1]:8080", "::1", True),
        ("localhost:9000", "127.0.0.1", True),  # through an SSH tunnel
        ("evil.example:8080", "127.0.0.1", False),  # DNS rebinding
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("192.168.1.5:8080", "127.0.0.1", False),
        ("192.168.1.5:8080", "192.168.1.5", True),
        ("lab-pc:8080", "lab-pc", True),
        ("192.168.1.5:8080", "0.0.0.0", True),
        ("evil.example:8080", "0.0.0.0", False),
        ("", "127.0.0.1", False),
        ("[::1", "127.0.0.1", False),
    ],
)
def test_hosts(host, bound, allowed):
    assert host_allowed(host, bound) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "localhost:8080", True),  # not a browser
        ("http://localhost:8080", "localhost:8080", True),
        ("http://LOCALHOST:8080", "localhost:8080", True),
        ("http://localhost:3000", "localhost:8080", False),
        ("https://evil.example", "localhost:8080", False),
        ("http://evil.example/localhost:8080", "localhost:8080", False),
        ("null", "localhost:8080", False),
        ("file://localhost:8080", "localhost:8080", False),
        ("", "localhost:8080", False),
    ],
)
def test_origins(origin, host, allowed):
    assert origin_allowed(origin, host) is allowed
