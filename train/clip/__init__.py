"""Contrastive fine-tuning of CLIP models on pictures with captions, and with labelled masks."""
