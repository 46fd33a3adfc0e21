"""Pictures to features: the upload, the image encoder, and when they are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engines.backends.face import Runner
from engines.continuity import is_finite
from engines.device_clock import on_card
from engines.features import Features
from engines.images import IMAGENET_MEAN, IMAGENET_STD, to_input
from engines.lanes import Lane, follow_here
from engines.transfer import PinnedRing


class Encoding:
    """Runs the image encoder in a lane of its own.

    Args:
        model: A `SAM2Base` in eval mode, on the device.
        autocast: Makes the context that its modules run in.
        device: Where.
        runners: Exported networks by name; None to run the model's own modules.
        asks: Whether the host waits to learn that the numbers are finite; else `Features.finite`
            knows it where they are.
    """

    def __init__(
        self,
        model: Any,
        autocast: Callable[[], Any],
        device: torch.device,
        runners: Mapping[str, Runner] | None,
        *,
        asks: bool,
    ) -> None:
        self._model = model
        self._autocast = autocast
        self._device = device
        self._runners = runners
        self._asks = asks
        self._bring = PinnedRing(device) if on_card(device) else None
        self.lane = Lane(device, "normal")

    def __call__(self, image: npt.NDArray[np.uint8]) -> Features:
        """Encode an image (H, W, 3) uint8 RGB.

        Raises:
            ModelError: The features are not finite, and the host asks.
        """
        with self.lane():
            features = self._encode(image)
            if self._asks:
                features.check()
            else:
                features.finite = is_finite(features.top, features.half, features.quarter)
        features.ready = self.lane.mark()
        # Whoever reads them outside of lanes reads them when they are there.
        follow_here(features.ready, features.tensors())
        return features

    def _encode(self, image: npt.NDArray[np.uint8]) -> Features:
        side = int(self._model.image_size)
        planes = to_input(
            image, (side, side), IMAGENET_MEAN, IMAGENET_STD, self._device, self._bring
        )
        if self._runners is None:
            with self._autocast():
                out = self._model.forward_image(planes)
            quarter, half, top = (level.float() for level in out["backbone_fpn"])
        else:
            found = self._runners["image_encoder"]({"image": planes})
            top, half, quarter = found["top"], found["half"], found["quarter"]
        return Features(top=top, half=half, quarter=quarter, frame_size=image.shape[:2])
