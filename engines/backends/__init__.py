"""What runs exported networks: ONNX Runtime, OpenVINO, TensorRT, or torch itself.

`docs/backends.md` says how to add another.
"""

from engines.backends.choose import BACKENDS, NAMES, choose, get
from engines.backends.face import Backend, BackendError, Network, Runner, Running

__all__ = [
    "BACKENDS",
    "NAMES",
    "Backend",
    "BackendError",
    "Network",
    "Runner",
    "Running",
    "choose",
    "get",
]
