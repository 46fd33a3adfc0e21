"""A card that computes nothing: tensors know shape, dtype and device, and cannot be asked for more.

With torch's fake tensors a step runs through the branches that a card takes, on a machine without
one. Tensors of host and card that meet are an error, and so is each question about their contents
and each copy to the card that the host would wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from engines import lanes, transfer
from engines.device_clock import DeviceClock


class FakeStream:
    """A stream that notes what it was told."""

    def __init__(self, name: str, log: list[tuple[str, ...]]) -> None:
        self.name, self.log = name, log

    def wait_event(self, event: FakeEvent) -> None:
        self.log.append((self.name, "waits for", event.of))

    def wait_stream(self, stream: FakeStream) -> None:
        self.log.append((self.name, "waits for", stream.name))


class FakeEvent:
    """An event of the stream that was current when it was recorded."""

    def __init__(self, card: FakeCard) -> None:
        self.card, self.of = card, ""

    def record(self) -> None:
        self.of = self.card.streams[-1].name

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        self.card.log.append(("host", "waits for", self.of))

    def elapsed_time(self, later: Any, /) -> float:
        return 1.0


class Unwaited(TorchDispatchMode):
    """Refuses copies between host and card that the host waits for.

    What Python hands over, torch copies out of sight of any mode: such calls are refused as they
    are made.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._patch = monkeypatch

    def __enter__(self) -> Any:
        self._context = self._patch.context()
        patched = self._context.__enter__()
        patched.setattr(torch, "tensor", _refusing(torch.tensor, lambda a, k: "device" in k))
        for name in ("__getitem__", "__setitem__"):
            method = getattr(torch.Tensor, name)
            patched.setattr(torch.Tensor, name, _refusing(method, lambda a, k: _has_list(a[1])))
        return super().__enter__()

    def __exit__(self, *error: Any) -> Any:
        self._context.__exit__(*error)
        return super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if name in ("_to_copy", "to", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            last = args[2] if name == "copy_" and len(args) > 2 else False
            waits = not kwargs.get("non_blocking", last)
            # torch fills with a number of the host without a copy.
            if waits and source.device.type != found.device.type and source.dim():
                raise AssertionError(f"{name} of {tuple(source.shape)} is waited for")
        if name in ("index", "index_put_", "index_put"):
            places = [i.device for i in args[1] if i is not None]
            assert places == [args[0].device] * len(places), f"{name} by indices of the host"
        return found


def _refusing(call: Any, waits: Any) -> Any:
    def checked(*args: Any, **kwargs: Any) -> Any:
        assert not waits(args, kwargs), f"{call.__name__} is waited for"
        return call(*args, **kwargs)

    return checked


def _has_list(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list | np.ndarray) for part in parts)


class FakeCard:
    """What was asked of the card; see `fake_card`."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=False)
        self.log: list[tuple[str, ...]] = []
        self.streams = [FakeStream("default", self.log)]
        self.downloads: list[int] = []

    def carry(self, model: nn.Module) -> nn.Module:
        """Put a model on the card."""
        for module in model.modules():
            for name, tensor in list(module._parameters.items()):
                if tensor is not None:
                    module._parameters[name] = nn.Parameter(self._moved(tensor), False)
            for name, tensor in list(module._buffers.items()):
                if tensor is not None:
                    module._buffers[name] = self._moved(tensor)
            for name, value in list(vars(module).items()):
                if isinstance(value, torch.Tensor):
                    setattr(module, name, self._moved(value))
                elif isinstance(value, dict) and not name.startswith("_"):
                    moved = {k: self._moved(v) for k, v in value.items() if torch.is_tensor(v)}
                    value.update(moved)
        return model

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        real = tensor.detach()
        with self.mode:
            return self.mode.from_tensor(real).to("cuda")

    def download(self, packed: torch.Tensor) -> np.ndarray:
        """Give the host some bytes, all of them 1: flags are true."""
        assert packed.device.type == "cuda"
        self.downloads.append(len(packed))
        return np.ones(len(packed), dtype=np.uint8)

    @contextmanager
    def on(self, stream: FakeStream) -> Iterator[None]:
        """Let a stream be the current one."""
        self.streams.append(stream)
        yield
        self.streams.pop()


@contextmanager
def fake_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCard]:
    """Let `cuda` be a fake card, with streams and events that note what they are told."""
    card = FakeCard()
    with monkeypatch.context() as patched:
        patched.setattr(nn.Module, "to", lambda self, *_, **__: self)
        patched.setattr(lanes, "make_stream", lambda _, urgency: FakeStream(urgency, card.log))
        patched.setattr(
            lanes, "DeviceClock", lambda device: DeviceClock(device, lambda: FakeEvent(card))
        )
        patched.setattr(torch.cuda, "stream", lambda s: card.on(s) if s else nullcontext())
        patched.setattr(torch.cuda, "current_stream", lambda *_: card.streams[-1])
        patched.setattr(torch.Tensor, "record_stream", lambda self, _: None)
        patched.setattr(torch.Tensor, "pin_memory", _unknown)
        patched.setattr(transfer, "host_bytes", card.download)
        patched.setattr(transfer.PinnedRing, "__call__", lambda self, image: _brought(image))
        yield card


def _unknown(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor like this one, whose contents torch does not know by heart."""
    return torch.empty(tensor.shape, dtype=tensor.dtype)


def _brought(image: np.ndarray) -> torch.Tensor:
    return torch.empty(image.shape, dtype=torch.uint8, device="cuda")
