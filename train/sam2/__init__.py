"""Fine-tuning of SAM 2 on images and films with instance masks."""
