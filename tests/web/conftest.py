from collections.abc import Callable

import numpy as np
import pytest

from stream.frame import Frame, Masks, TrackedObject, crop_mask

Result = tuple[Frame, Masks]


def _result(
    index: int = 0,
    size: tuple[int, int] = (48, 64),
    objects: int = 2,
    state: str = "confirmed",
    pts_s: float | None = None,
) -> Result:
    height, width = size
    rows, cols = np.mgrid[:height, :width]
    items = []
    for number in range(1, objects + 1):
        centre = (height * number / (objects + 1), (width * number / (objects + 1) + index) % width)
        disc = (rows - centre[0]) ** 2 + (cols - centre[1]) ** 2 <= 36
        mask, box = crop_mask(disc)
        items.append(TrackedObject(number, "cell", 0.9, state, mask, box, int(mask.sum())))  # type: ignore[arg-type]
    pts = index / 10 if pts_s is None else pts_s
    image = np.full((*size, 3), 80 + index % 100, dtype=np.uint8)
    frame = Frame(index, image, pts, captured_ns=1_000_000 * (index + 1))
    masks = Masks(
        index, size, pts, frame.captured_ns, tuple(items), {"tracked": 5}, {"overrun": index}
    )
    return frame, masks


@pytest.fixture
def result() -> Callable[..., Result]:
    """Makes a frame with discs and its masks."""
    return _result
