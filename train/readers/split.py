"""The split into training and held-out samples, made by name alone."""

from __future__ import annotations

import hashlib


def held_out(name: str, percent: int = 10) -> bool:
    """Whether a sample is kept from training.

    The same sample is on the same side in every run and on every machine, and stays there when
    others are added to the set; a larger percentage keeps all that a smaller one keeps.

    Args:
        name: The sample's name.
        percent: About how much of the set is held out, 0 to 100.
    """
    digest = hashlib.sha256(name.encode("utf-8")).digest()
    return int.from_bytes(digest[:4], "big") % 100 < percent
