"""Models of maskcast: tensors in, tensors out. Never imports `stream`."""

__distribution__ = "maskcast"
