"""Export a checkpoint's weights as the shipped fp16 safetensors.

``python -m train.micro.export CHECKPOINT OUT.safetensors [--last]``
"""

from __future__ import annotations

import argparse
from pathlib import Path

from train.checkpoint import export_weights, load_checkpoint


def main() -> None:
    """Write the weights and print their step, size and sha256."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--last", action="store_true", help="the last step's weights, not their average")
    options = p.parse_args()
    state = load_checkpoint(options.checkpoint)
    digest = export_weights(state["model" if options.last else "average"], options.out)
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: step {state['step']}, {size:.1f} MB, sha256 {digest}")


if __name__ == "__main__":
    main()
