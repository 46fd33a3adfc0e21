"""Checkpoint to artefact (ONNX, OpenVINO, TensorRT) with its parity report."""

__distribution__ = "maskcast"
