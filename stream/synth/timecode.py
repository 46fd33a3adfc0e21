"""A code in the picture that carries time: when a frame was due, and its number.

A grid of black and white cells in the top left corner, 25 by 4, each an 80th of the frame's width
wide and high: four corner cells that are always the same, 48 bits of microseconds, 32 bits of the
frame's number and a checksum of 16. Cells are that coarse, and read in their middle only, so that
the code survives H.264, JPEG and scaling; what does not survive reads as None and never as
another time.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

COLUMNS: Final = 25
ROWS: Final = 4
CELLS_A_WIDTH: Final = 80
"""Cells that would fit along the frame's width."""
MIN_WIDTH_PX: Final = 160
MIN_CONTRAST: Final = 48.0
"""Between the white and the black corner cells, of 255, below which there is no code."""

_TIME_BITS: Final = 48
_NUMBER_BITS: Final = 32
_DATA_BYTES: Final = (_TIME_BITS + _NUMBER_BITS) // 8
_CORNERS: Final = ((0, True), (COLUMNS - 1, False), (-COLUMNS, False), (-1, True))
"""Place in the flat grid, and whether it is white."""


@dataclass(frozen=True, slots=True)
class TimeCode:
    """What a picture says about itself."""

    time_us: int
    """Microseconds on the clock of whoever drew it, 0 to 2**48 - 1."""
    number: int
    """Number of the frame, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.time_us < 1 << _TIME_BITS:
            raise ValueError(f"time_us={self.time_us} is not from 0 to {(1 << _TIME_BITS) - 1}")
        if not 0 <= self.number < 1 << _NUMBER_BITS:
            raise ValueError(f"number={self.number} is not from 0 to {(1 << _NUMBER_BITS) - 1}")


def code_size_px(width_px: int) -> tuple[int, int]:
    """Return (height, width) in pixels of the code in a frame of this width."""
    return _edges(ROWS, width_px)[-1], _edges(COLUMNS, width_px)[-1]


def check_fits(size: tuple[int, int]) -> None:
    """Check that a frame has room for the code.

    Args:
        size: (H, W) in pixels.

    Raises:
        ValueError: It is too small.
    """
    height, width = size
    if width < MIN_WIDTH_PX or height < code_size_px(width)[0]:
        raise ValueError(
            f"a frame of {width}x{height} is too small for a time code; {MIN_WIDTH_PX} pixels of "
            f"width and {code_size_px(max(width, MIN_WIDTH_PX))[0]} of height are needed"
        )


def draw_timecode(image: npt.NDArray[np.uint8], code: TimeCode) -> None:
    """Draw a code into a frame.

    Args:
        image: (H, W) or (H, W, 3) uint8, changed in place.
        code: What it is to say.

    Raises:
        ValueError: The frame is too small.
    """
    check_fits((image.shape[0], image.shape[1]))
    rows, columns = _edges(ROWS, image.shape[1]), _edges(COLUMNS, image.shape[1])
    cells = np.where(_to_cells(code), np.uint8(255), np.uint8(0)).reshape(ROWS, COLUMNS)
    drawn = np.repeat(np.repeat(cells, np.diff(rows), axis=0), np.diff(columns), axis=1)
    target = image[: rows[-1], : columns[-1]]
    target[...] = drawn if image.ndim == 2 else drawn[:, :, None]


def read_timecode(image: npt.NDArray[np.uint8]) -> TimeCode | None:
    """Read the code of a frame, which may have been scaled and compressed.

    Args:
        image: (H, W) or (H, W, 3) uint8; the whole frame, not a part of it.

    Returns:
        None where there is none, or it is damaged.
    """
    height, width = image.shape[:2]
    if width < MIN_WIDTH_PX or height < code_size_px(width)[0]:
        return None
    levels = _sample(image, width)
    white = min(levels[place] for place, is_white in _CORNERS if is_white)
    black = max(levels[place] for place, is_white in _CORNERS if not is_white)
    if white - black < MIN_CONTRAST:
        return None
    return _from_cells(levels > (white + black) / 2)


def _edges(count: int, width_px: int) -> npt.NDArray[np.int64]:
    """Return where cells begin and end along an axis; they are square, whatever the height."""
    return np.round(np.arange(count + 1) * (width_px / CELLS_A_WIDTH)).astype(np.int64)


def _sample(image: npt.NDArray[np.uint8], width_px: int) -> npt.NDArray[np.float64]:
    """Return the mean of the middle of each cell, row after row."""
    cell_px = width_px / CELLS_A_WIDTH
    rows, columns = (_middles(count, cell_px) for count in (ROWS, COLUMNS))
    picked = image[rows[:, None], columns[None, :]].astype(np.float64)
    if picked.ndim == 3:
        picked = picked.mean(axis=2)
    side = len(rows) // ROWS
    means: npt.NDArray[np.float64] = picked.reshape(ROWS, side, COLUMNS, side).mean(axis=(1, 3))
    return means.ravel()


def _middles(count: int, cell_px: float) -> npt.NDArray[np.int64]:
    """Return the pixels in the middle half of each cell."""
    side = max(1, int(cell_px / 2))
    offsets = (np.arange(side) + 0.5) / side * (cell_px / 2) + cell_px / 4
    return (np.arange(count)[:, None] * cell_px + offsets[None, :]).astype(np.int64).ravel()


def _to_cells(code: TimeCode) -> npt.NDArray[np.bool_]:
    data = (code.time_us << _NUMBER_BITS | code.number).to_bytes(_DATA_BYTES, "big")
    data += binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
    cells = np.zeros(ROWS * COLUMNS, dtype=np.bool_)
    for place, is_white in _CORNERS:
        cells[place] = is_white
    cells[_data_places()] = np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.bool_)
    return cells


def _from_cells(cells: npt.NDArray[np.bool_]) -> TimeCode | None:
    data = np.packbits(cells[_data_places()]).tobytes()
    data, checksum = data[:_DATA_BYTES], int.from_bytes(data[_DATA_BYTES:], "big")
    if binascii.crc_hqx(data, 0xFFFF) != checksum:
        return None
    value = int.from_bytes(data, "big")
    return TimeCode(value >> _NUMBER_BITS, value & (1 << _NUMBER_BITS) - 1)


def _data_places() -> npt.NDArray[np.int64]:
    corners = [place % (ROWS * COLUMNS) for place, _ in _CORNERS]
    return np.setdiff1d(np.arange(ROWS * COLUMNS), corners)
