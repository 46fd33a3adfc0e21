"""The gradient of a large contrastive batch, computed in parts (GradCache).

Adding up the gradients of small batches is not the gradient of a large one: each part would be told
from its own pairs only. Gao et al. 2021 (arXiv 2101.06983) go twice: first all parts are embedded
without a graph, the loss of the whole batch gives the gradient of each embedding, and then each
part is embedded again and sends its share of that gradient back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

Encode = Callable[[], Tensor]
Seeded = Callable[[str, int], AbstractContextManager[None]]


def cached_backward(
    parts: Mapping[str, Sequence[Encode]],
    loss_of: Callable[[Mapping[str, Tensor]], Tensor],
    seeded: Seeded,
) -> Tensor:
    """Add the gradient of a loss over all parts to the parameters.

    Args:
        parts: Name -> functions that each embed a part, (n, D).
        loss_of: The loss of the embeddings of each name, joined in order. It may use parameters of
            its own, such as `logit_scale`.
        seeded: A context for (name, part) in which random choices are the same each time, so that
            dropout is alike in both goes.

    Returns:
        The loss, without a graph.
    """
    if all(len(functions) <= 1 for functions in parts.values()):
        loss = loss_of(_embed(parts, seeded))
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    with torch.no_grad():
        leaves = _embed(parts, seeded)
    for leaf in leaves.values():
        leaf.requires_grad_()
    loss = loss_of(leaves)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, functions in parts.items():
        gradient, first = leaves[name].grad, 0
        if gradient is None:
            continue
        for number, encode in enumerate(functions):
            with seeded(name, number):
                again = encode()
            if again.requires_grad:
                again.backward(gradient[first : first + len(again)])  # type: ignore[no-untyped-call]
            first += len(again)
    return loss.detach()


def _embed(parts: Mapping[str, Sequence[Encode]], seeded: Seeded) -> dict[str, Tensor]:
    found = {}
    for name, functions in parts.items():
        rows = []
        for number, encode in enumerate(functions):
            with seeded(name, number):
                rows.append(encode())
        found[name] = torch.cat(rows)
    return found
