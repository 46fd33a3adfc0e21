"""Networks in torch, float32, as exported ones would run."""

from __future__ import annotations

from typing import Any

from engines.backends import Running
from engines.backends.torch_backend import TorchRunner
from engines.engine_folder import Engines
from engines.networks import sam2_networks


def torch_runners(sam: Any) -> Engines:
    """Return engines that run the modules of a `SAM2Base`."""
    runners = {n: TorchRunner(net, "fp32", Running()) for n, net in sam2_networks(sam).items()}
    return Engines("torch", runners, "", dict.fromkeys(runners, "fp32"))
