"""The whole configuration as one checked model, and its loading from YAML.

Stages never see this object: `stream.pipeline` hands each the section that is its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from engines.phrases import split_phrases
from stream.errors import ConfigError, UsageError


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("names must be valid UTF-8; rename the file or the folder") from None
    return text


def _writable_path(path: Path) -> Path:
    _writable(str(path))
    return path


def _words(text: str) -> str:
    _writable(text)
    if not split_phrases(text):
        raise ValueError("a text must contain at least one word")
    return " ".join(text.split())


def _at_least(field: str) -> Callable[[int, ValidationInfo], int]:
    def check_value(value: int, info: ValidationInfo) -> int:
        least = info.data.get(field, value)
        if value < least:
            raise ValueError(f"it must not be smaller than {field}, which is {least}")
        return value

    return check_value


def _rising(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] > band[1]:
        raise ValueError("it should be [low, high] with low <= high")
    return band


def _one_pass(tiles: int, info: ValidationInfo) -> int:
    verify = str(info.data.get("verify", ""))
    if tiles > 1 and verify.startswith("token"):
        raise ValueError(f"beside verify {verify} it should be 1; verify pooled and crop take more")
    return tiles


MOST_CONFIRM_EVENTS = 16

Name = Annotated[str, AfterValidator(_writable)]
Text = Annotated[str, AfterValidator(_words)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0)]
Backend = Literal["auto", "torch", "openvino", "onnxruntime", "tensorrt"]


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values are checked on assignment."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class Reconnect(Section):
    """How a live source is opened again after it broke: exponential backoff with jitter."""

    first_delay_s: Seconds = 0.5
    max_delay_s: Seconds = 15.0
    factor: Annotated[float, Field(ge=1.0)] = 2.0
    jitter: Fraction = 0.3
    give_up_after_s: Annotated[float, Field(ge=0.0)] = 0.0
    """0: never give up."""


class Normalize(Section):
    """16 bit to 8 bit: lock, span floor, re-lock (`stream/sources/normalize.py`)."""

    low_percentile: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    high_percentile: Annotated[float, Field(ge=0.0, le=100.0)] = 99.8
    lock_frames: Annotated[int, Field(ge=1)] = 10
    span_floor_sigma: Annotated[float, Field(ge=0.0)] = 20.0
    relock_fraction: Fraction = 0.01
    relock_frames: Annotated[int, Field(ge=1)] = 10


class SourceConfig(Section):
    """Where frames come from."""

    uri: Name = "demo://cells"
    policy: Literal["auto", "latest", "every"] = "auto"
    """`latest` drops what the tracker cannot take, `every` waits; `auto`: latest when live."""
    open_timeout_s: Seconds = 5.0
    read_timeout_s: Seconds = 5.0
    stale_after_s: Seconds = 1.0
    """Frames of a live source older than this on arrival are thrown away and counted."""
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    reconnect: Reconnect = Reconnect()
    normalize: Normalize = Normalize()


class MemoryConfig(Section):
    """How much the tracker remembers of each object; null: what the model was made for."""

    conditioning: Annotated[int, Field(ge=1)] | None = None
    """Frames with a prompt: the first is kept, then the newest."""
    recent_frames: Annotated[int, Field(ge=1, le=6)] | None = None
    recent_pointers: Annotated[int, Field(ge=0, le=15)] | None = None
    stride: Annotated[int, Field(ge=1)] = 1
    """Remember every such frame, and the last."""
    pool: Literal[1, 2] = 1
    """2: memories are averaged over squares of 2 x 2 tokens. Not beside `window`."""
    late_frames: Annotated[int, Field(ge=1, le=1000)] = 32
    """Frames gone by that a detection can still be about; their features are kept."""


class WindowConfig(Section):
    """Look for an object near where it was; in the whole frame when it is not found there."""

    margin: Annotated[float, Field(gt=0.0)] = 0.5
    """Room left around the last mask on each side, in sizes of the mask."""
    min_score: float = 0.0
    """Object score (logit) below which the whole frame is searched."""
    min_iou: Fraction = 0.3
    """Predicted IoU below which the whole frame is searched."""
    least_tokens: Annotated[int, Field(ge=2)] = 8
    """Smallest side of what is looked at, in tokens of 16 pixels of the model's input."""


class CalmConfig(Section):
    """Step objects that hardly move less often."""

    min_iou: Fraction = 0.9
    """IoU of the last two masks from which an object counts as calm."""
    every: Annotated[int, Field(ge=2)] = 2


class TrackerConfig(Section):
    """The SAM2 side."""

    model: str = "micro"
    weights: str | None = None
    """A local path, a hub id, `random:SEED`, or null for the model's own default."""
    image_size: Annotated[int, Field(ge=64, multiple_of=32)] | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the processor computes it in hardware, else fp32."""
    backend: Backend = "auto"
    """What runs the networks: `auto` is the fastest that `maskcast export` wrote for them, else
    torch."""
    engines: Path | None = None
    """Folder that `maskcast export` wrote; null: where it puts them."""
    device: str = "cpu"
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads for the networks; null: all cores but the detector's, one at least."""
    max_objects: Annotated[int, Field(ge=1, le=1000)] = 32
    non_overlap: bool | None = None
    """Give a pixel that several objects claim to the surest; null: `micro` does, the others not."""
    one_piece: bool | None = None
    """Keep the largest connected piece of a mask only; null: `micro` does, the others not."""
    fill_holes_px: Annotated[int, Field(ge=0)] = 0
    """Fill holes of at most this area, in pixels of a quarter of the image size."""
    drop_specks_px: Annotated[int, Field(ge=0)] = 0
    """Drop pieces of at most this area."""
    smooth: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Weight of the last mask where an object hardly moves, against flicker."""
    replay_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of single objects that a late detection may cost to bring its objects exactly up to
    now; above it they jump there. 0: always jump."""
    memory: MemoryConfig = MemoryConfig()
    window: WindowConfig | None = None
    calm: CalmConfig | None = None


class DetectorConfig(Section):
    """The CLIP side."""

    clip: str | None = None
    """`micro`, or an open_clip name; null: what belongs beside the tracker's model, `micro` beside
    `micro` and `ViT-B-32/laion2b_s34b_b79k` beside the official ones."""
    weights: str | None = None
    backend: Backend = "auto"
    """As `tracker.backend`, for CLIP and for the mask decoder that the detector runs."""
    engines: Path | None = None
    """Folder with CLIP's exported towers; null: where `maskcast export` puts them."""
    device: str = "cpu"
    threads: Annotated[int, Field(ge=1)] = 1
    niceness: Annotated[int, Field(ge=0, le=19)] = 0
    """How far its process gives way to all others, other programs too; 0: not at all."""
    every_n_frames: Annotated[int, Field(ge=1)] = 8
    """Processed frames from one look to the next."""
    every_s: Seconds | None = None
    """Stream time from one look to the next, instead of frames."""
    adaptive: bool = False
    """Look more often while something is uncertain, less often while nothing changes."""
    every_n_unsure: Annotated[int, Field(ge=1)] = 3
    """`adaptive`: with tentative tracks, and after a cut."""
    every_n_still: Annotated[int, Field(ge=1)] = 16
    """`adaptive`: while all tracks are confirmed and nothing changes."""
    still_cosine: Fraction = 0.98
    """Cosine of the last two looks' image embeddings above which nothing changes."""
    still_events: Annotated[int, Field(ge=1)] = 2
    """Looks in a row that found nothing but what was known, where there are no such embeddings."""
    image_size: Annotated[int, Field(ge=64, multiple_of=16)] | None = None
    """Side of the square that CLIP sees; null: 512 for `micro`, else finer than it was trained."""
    dense: Literal["naclip", "clearclip", "maskclip", "vanilla"] = "naclip"
    """How CLIP's last block is read for its patches."""
    score: Literal["softmax", "multiplier", "sigmoid"] = "softmax"
    """How similarities become the probabilities that masks are scored by."""
    logit_bias: float | None = None
    """Bias of the sigmoid; null: the model's own, without which `sigmoid` is refused."""
    verify: Literal["pooled", "token", "crop", "token+crop"] | None = None
    """How a mask is looked at: the mean of its patches, a class token for each mask, and crops of
    the doubtful ones; null: `crop` for `micro`, of all masks unless `crop_band` says else, and
    `pooled` for the others."""
    crop_style: Literal["grey", "raw", "soft"] = "grey"
    """What a crop shows outside of its mask: nothing, all, or a part."""
    crop_band: Annotated[tuple[Fraction, Fraction], AfterValidator(_rising)] | None = None
    """Probabilities between which a mask is doubtful; [0, 1]: all are; null: that for `micro`, and
    [0.35, 0.65] for the others."""
    crop_most: Annotated[int, Field(ge=0)] | None = None
    """Crops of one look, the most doubtful first; null: 32 for `micro`, 8 for the others."""
    crop_weight: Fraction | None = None
    """Part of the crop in the probability; 1: it decides alone; null: 0.5."""
    tiles: Annotated[int, Field(ge=1, le=8), AfterValidator(_one_pass)] = 1
    """Tiles along each edge that CLIP sees one by one, for small objects; costs tiles x tiles
    passes. Beside more than 1, `verify` is pooled or crop."""
    peak_threshold: Fraction = 0.35
    max_prompts: Annotated[int, Field(ge=1)] = 96
    sweep_grid: Annotated[int, Field(ge=0, le=64)] | None = None
    """Side of the grid of clicks laid over warm regions, beside the regions' boxes and the peaks;
    0 for none; null: 16 for `micro`, 0 else."""
    recall_every: Annotated[int, Field(ge=0)] = 0
    """Every so many looks a grid of clicks lies over the whole frame, warm or not; 0: never."""
    recall_grid: Annotated[int, Field(ge=1, le=64)] = 8
    """Side of that grid."""
    min_quality: Fraction = 0.6
    """Lowest predicted IoU x stability x object probability of a mask."""
    nms_iou: Fraction = 0.5
    contained: Fraction = 0.8
    min_score: Fraction = 0.4
    min_area_px: Annotated[int, Field(ge=0)] = 30


class LifecycleConfig(Section):
    """When tracks are born, shown and ended; counted in detection events."""

    match_iou: Fraction = 0.5
    other_label_iou: Fraction = 0.2
    """How much less an overlap counts under another label, where pairs compete."""
    claim_iou: Fraction = 0.7
    """Detections that overlap so much are of one object: the surest stands for it, the others are
    evidence for their labels only."""
    label_rate: Fraction = 0.3
    """Weight of the newest event in the evidence for each label."""
    label_margin: Fraction = 0.2
    """Lead in evidence that another label needs to take over."""
    text_score: Fraction = 0.5
    """Lowest score under an edited text with which a track goes on."""
    new_iou: Fraction = 0.1
    birth_score: Fraction = 0.7
    keep_score: Fraction = 0.4
    """Lowest score of a detection that supports a track; where `birth_score` is lower, that."""
    score_rate: Fraction = 0.3
    """Weight of the newest support in a track's score."""
    confirm_score: Fraction = 0.9
    confirm_supports: Annotated[int, Field(ge=1, le=MOST_CONFIRM_EVENTS)] = 2
    confirm_window: Annotated[
        int,
        Field(ge=1, le=MOST_CONFIRM_EVENTS, validate_default=True),
        AfterValidator(_at_least("confirm_supports")),
    ] = 3
    remove_after_unsupported: Annotated[int, Field(ge=1)] = 8
    remove_after_empty_s: Seconds = 2.0
    duplicate_iou: Fraction = 0.7
    misfit_contained: Fraction = 0.7
    """A track follows a part of an object, or several, when it and a detection that does not
    support it lie in one another by so much; it then follows the detection."""
    recondition_score: Fraction = 0.8
    recondition_every: Annotated[int, Field(ge=1)] = 4
    """A track is corrected in every such event that supports it: each time costs a memory."""
    cap_margin: Fraction = 0.1
    """How much surer a new object must be than the least certain track, to take its place where
    there are `tracker.max_objects`."""
    recognise_cosine: Fraction = 0.9
    """Lowest cosine of the embeddings of an object that comes back; 1 for never."""
    recognise_margin: Fraction = 0.05
    """How much more it must look like itself than like anything else."""
    recognise_within_s: Seconds = 60.0
    """Stream time after which an object that left is forgotten."""
    embedding_rate: Fraction = 0.1
    """Least weight of the newest detection in a track's mean embedding."""
    gallery_size: Annotated[int, Field(ge=0, le=1000)] = 64
    """Tracks that left and may come back; 0: none."""
    history_frames: Annotated[int, Field(ge=1, le=512)] = 64


class TransportConfig(Section):
    """How stages are joined."""

    kind: Literal["ipc", "inproc", "tcp"] = "ipc"
    ring_slots: Annotated[int, Field(ge=4, le=256)] = 8
    start_timeout_s: Seconds = 120.0


class PublishConfig(Section):
    """The ZeroMQ PUB socket."""

    endpoint: str | None = "tcp://127.0.0.1:5560"
    high_water_mark: Annotated[int, Field(ge=1)] = 100


class ControlConfig(Section):
    """Where a run listens to people while it goes on (`maskcast ask`, and the page)."""

    endpoint: str | None = "auto"
    """`tcp://127.0.0.1:PORT`, `*` for a free port, or `ipc://PATH`; null: it does not listen;
    `auto`: at tcp://127.0.0.1:5561 where the run publishes, else it does not."""


class WebConfig(Section):
    """The live page."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 takes a free port and prints it."""
    max_fps: Annotated[float, Field(gt=0.0)] = 15.0
    jpeg_quality: Annotated[int, Field(ge=1, le=95)] = 80
    control: bool | None = None
    """Whether the page may change what the run looks for; null: where `host` is loopback."""
    metrics: bool = True
    """Whether the page's server answers `/metrics`, too (`docs/metrics.md`)."""


class MetricsConfig(Section):
    """Figures and health for machines (`docs/metrics.md`); the page has them already."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """A port of their own, with or without a page; null: none, 0 takes a free one and prints it."""
    hung_after_s: Seconds = 30.0
    """A stage that has not been at work for so long hangs; longer than a frame or a look takes."""


class RecordConfig(Section):
    """The recorder: `masks.jsonl` and `overlay.mp4` in a directory."""

    dir: Annotated[Path, AfterValidator(_writable_path)] | None = None
    video: bool = True


class Config(Section):
    """A complete run."""

    stream: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "main"
    source: SourceConfig = SourceConfig()
    texts: Annotated[list[Text], Field(min_length=1)] = ["cell"]
    negatives: list[Text] = []
    tracker: TrackerConfig = TrackerConfig()
    detector: DetectorConfig = DetectorConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    transport: TransportConfig = TransportConfig()
    publish: PublishConfig = PublishConfig()
    control: ControlConfig = ControlConfig()
    web: WebConfig = WebConfig()
    metrics: MetricsConfig = MetricsConfig()
    record: RecordConfig = RecordConfig()
    frames: Annotated[int, Field(ge=1)] | None = None
    """End after this many frames were read."""
    seconds: Seconds | None = None
    """End after this much time since the first frame."""


def load(path: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Load a configuration file and put command-line values over it.

    Args:
        path: YAML file; None starts from the defaults.
        overrides: Values by dotted key, for example `{"source.uri": "film.mp4"}`.

    Raises:
        UsageError: The file is missing or is not YAML.
        ConfigError: A key or a value is not accepted.
    """
    data = _read(path) if path is not None else {}
    for key, value in (overrides or {}).items():
        _put(data, key, value)
    return check(data)


def check(data: dict[str, Any]) -> Config:
    """Check plain data against the model.

    Raises:
        ConfigError: Names the first key that is wrong, and what it accepts.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "config"
        if first["type"] == "extra_forbidden":
            raise ConfigError(key, _unknown(key)) from error
        raise ConfigError(key, f"{first['input']!r} is not accepted: {_reason(first)}") from error


def _reason(detail: Any) -> str:
    message = str(detail["msg"])
    return message.removeprefix("Value error, ").replace("Input should be", "it should be")


def _unknown(key: str) -> str:
    *parents, name = key.split(".")
    section: type[BaseModel] = Config
    for part in parents:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        section = annotation
    names = list(section.model_fields)
    close = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"no such key; {guess}accepted are {', '.join(names)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a YAML file: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"{path}: holds a {type(data).__name__}; a map of keys is needed")
    return data


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for part in parents:
        inner = data.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(part, f"{inner!r} is not accepted: it should be a map of keys")
        data = inner
    data[name] = value
