"""What all tests share: no engines that somebody exported on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engines.manifest import FOLDER_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def no_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let runs find the engines that a test exports, and no others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("engines")))
        yield
