"""Errors that a person is meant to read, and the exit status that each one has.

    MaskcastError        1   the run failed
    ├── UsageError       2   what was asked for cannot be: a file, a value, a name
    │   └── ConfigError  2   a key or a value in the configuration
    ├── SourceError      1   a source that was there failed, or a server refused it
    ├── SinkError        1   a disk, a port or a socket refused what was to be written
    └── StageError       1   a stage of the pipeline died or did not answer

Every message is one line: the value, what is accepted, what to do.
"""

from __future__ import annotations


class MaskcastError(Exception):
    """Base of all errors that end a run with one line instead of a traceback."""

    exit_status = 1

    def __str__(self) -> str:
        """Return the message on one line, whatever the parts contained."""
        return " ".join(super().__str__().split())


class UsageError(MaskcastError):
    """What the user asked for cannot be done as written."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration key or value is not accepted.

    Attributes:
        key: Dotted path of the key, for example `detector.every_n_frames`.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(f"{key}: {message}")


class SourceError(MaskcastError):
    """A source could not be opened or read."""


class SinkError(MaskcastError):
    """A result could not be written or published."""


class StageError(MaskcastError):
    """A stage ended when it should not have, or did not start.

    Attributes:
        stage: Name of the stage.
    """

    def __init__(self, stage: str, message: str) -> None:
        self.stage = stage
        super().__init__(f"stage {stage} {message}")


ERRORS: dict[str, type[MaskcastError]] = {
    cls.__name__: cls for cls in (MaskcastError, UsageError, SourceError, SinkError)
}
"""Kinds that cross a process boundary by name; others arrive as `MaskcastError`."""


def exit_status_of(kind: str) -> int:
    """Return the exit status of an error kind that came from another process.

    Args:
        kind: Class name, for example `SourceError`.
    """
    if kind == ConfigError.__name__:
        return ConfigError.exit_status
    return ERRORS.get(kind, MaskcastError).exit_status
