"""`maskcast ask`: change what a run looks for while it goes on, or show it something."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.remote.requests import Mask, Reply, Request


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ask")(ask)


def ask(
    endpoint: Annotated[
        str, typer.Argument(help="Where the run listens: its control.endpoint.")
    ] = "tcp://127.0.0.1:5561",
    add: Annotated[
        list[str] | None, typer.Option(help="Look for this, too; may be given again.")
    ] = None,
    edit: Annotated[
        tuple[str, str] | None, typer.Option(help="Look for NEW instead of OLD; ids stay.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Look for this text or exemplar no more.")
    ] = None,
    add_negative: Annotated[list[str] | None, typer.Option(help="It is not this.")] = None,
    remove_negative: Annotated[list[str] | None, typer.Option(help="It may be this.")] = None,
    click: Annotated[
        list[str] | None, typer.Option(help="X,Y inside of an object, in frame pixels.")
    ] = None,
    outside: Annotated[
        list[str] | None, typer.Option(help="X,Y outside of it; may be given again.")
    ] = None,
    box: Annotated[str | None, typer.Option(help="X0,Y0,X1,Y1 around an object.")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Image of the frame's size, not 0 inside the object.")
    ] = None,
    like: Annotated[bool, typer.Option("--like", help="Find others like it, too.")] = False,
    frame: Annotated[
        int | None, typer.Option(help="Which frame the prompt is about; the last one.")
    ] = None,
    id: Annotated[
        int | None, typer.Option(help="Correct this object instead of making a new one.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    more: Annotated[
        bool, typer.Option("--more", help="Add the clicks to earlier ones on this frame.")
    ] = False,
    forget: Annotated[list[int] | None, typer.Option(help="End this object's track.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the last reply as JSON.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 10.0,
) -> int:
    """Change what a run looks for, or show it an object; without options, say what it looks for."""
    from stream.remote import Client
    from stream.remote import requests as r

    asked: list[Request] = []
    asked += [r.Add(text) for text in add or ()]
    asked += [r.Add(text, negative=True) for text in add_negative or ()]
    if edit is not None:
        asked.append(r.Edit(*edit))
    asked += [r.Remove(text) for text in remove or ()]
    asked += [r.Remove(text, negative=True) for text in remove_negative or ()]
    asked += [r.Forget(track_id) for track_id in forget or ()]
    inside = [_numbers(text, "--click", 2) for text in click or ()]
    beyond = [_numbers(text, "--outside", 2) for text in outside or ()]
    if inside or beyond or box or mask:
        asked.append(
            r.Prompt(
                frame=frame,
                id=id,
                label=label,
                points=tuple((x, y) for x, y in [*inside, *beyond]),
                labels=(1,) * len(inside) + (0,) * len(beyond),
                box=_corners(box) if box else None,
                rle=_mask(mask) if mask else None,
                more=more,
                like=like,
            )
        )
    elif like or id is not None or frame is not None or label is not None or more:
        raise UsageError(
            "--like, --id, --frame, --label and --more are about a prompt; give --click X,Y, "
            "--box X0,Y0,X1,Y1 or --mask FILE"
        )
    with Client(endpoint, timeout) as client:
        for request in asked or [r.Get()]:
            reply = client.ask(request)
            if not reply.ok:
                raise UsageError(reply.error)
    typer.echo(_as_json(reply) if as_json else _as_text(reply))
    return 0


def _as_json(reply: Reply) -> str:
    import msgspec

    return json.dumps(msgspec.to_builtins(reply), ensure_ascii=False)


def _as_text(reply: Reply) -> str:
    def listed(words: Any) -> str:
        return ", ".join(map(repr, words or ())) or "none"

    lines = [f"texts: {listed(reply.texts)}", f"negatives: {listed(reply.negatives)}"]
    if reply.exemplars:
        lines.append(f"exemplars: {listed(reply.exemplars)}")
    if reply.area_px is not None:
        lines.append(f"object {reply.id} in frame {reply.frame}: {reply.area_px} px, {reply.box}")
    return "\n".join(lines)


def _numbers(text: str, option: str, count: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        shape = ",".join(("X", "Y") if count == 2 else ("X0", "Y0", "X1", "Y1"))
        raise UsageError(f"{option} {text!r} is not accepted; it must be {shape}, in frame pixels")
    return numbers


def _corners(text: str) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = _numbers(text, "--box", 4)
    return x0, y0, x1, y1


def _mask(path: Path) -> Mask:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    from stream import rle
    from stream.frame import crop_mask
    from stream.remote.requests import Mask

    try:
        with Image.open(path) as image:
            planes = np.asarray(image)
    except (OSError, UnidentifiedImageError) as error:
        raise UsageError(f"{path} cannot be read as an image: {error}") from error
    inside = np.asarray(planes.any(-1) if planes.ndim == 3 else planes > 0)
    part, box = crop_mask(inside)
    height, width = inside.shape
    return Mask((height, width), rle.encode(part, box, (height, width)).decode())
