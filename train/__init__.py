"""Data set to checkpoint: the micro models, CLIP and SAM2 fine-tuning."""

__distribution__ = "maskcast"
