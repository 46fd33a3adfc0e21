"""The recipe by which the micro models are made, from data to packaged weights."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

AtLeastOne = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A part of the recipe: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Films(Section):
    """Films of cells that are drawn for training and for measuring."""

    train: AtLeastOne = 260
    """Films that are trained on."""
    frames: Annotated[int, Field(ge=2)] = 12
    """Frames of each of them, three frames of 30 a second apart."""
    held_out: AtLeastOne = 8
    held_out_frames: Annotated[int, Field(ge=2)] = 64


class Segmenter(Section):
    """The micro SAM 2."""

    steps: AtLeastOne = 6800
    """Optimiser steps; the learning rate falls over them."""
    rate: Positive = 5e-4
    warmup: Count = 200
    stills: AtLeastOne = 5
    """Images of a step of stills."""
    prompts: AtLeastOne = 13
    """Prompts on each of them: prompts are cheap, encodings dear."""
    clips: AtLeastOne = 2
    """Clips of a step of clips, up to eight objects in each."""
    frames: tuple[AtLeastOne, AtLeastOne] = (3, 5)
    """The shortest and the longest clip."""
    track_from: Count = 2000
    """The first step with clips; two steps of three from there on, one in the second round."""
    sharpen_by: AtLeastOne = 900
    """By this step object pixels weigh 2 instead of 10."""
    film_share: Share = 0.25
    """Of the clips and stills that are drawn films; the others are real images."""
    average: Decay = 0.996
    """Decay of the moving average of the weights, which is what is kept."""
    second_round: Count = 3560
    """A second round begins with this step, from the averaged weights: the learning rate rises and
    falls again, the finder is trained and drawn shapes come in. 0, or more than `steps`: none."""
    second_rate: Positive = 3e-4
    shape_share: Share = 0.3
    """Of the clips and stills of the second round that are drawn shapes."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.frames[0] > self.frames[1]:
            raise ValueError(f"frames {list(self.frames)}: the shortest clip comes first")
        return self


class RefinerPart(Section):
    """The network that draws the edges of masks again."""

    steps: AtLeastOne = 50000
    rate: Positive = 2e-3
    warmup: Count = 100
    restarts: tuple[AtLeastOne, ...] = (9500, 19000, 27000, 30400, 31900, 40700)
    """With each of these steps another round begins, from the averaged weights: the learning rate
    rises and falls again. Those not before `steps` are left out."""
    later_rate: Positive = 1.2e-3
    own_from: Count = 1500
    """From this step on half of what was clicked is seen as the network itself drew it, and a
    quarter as it drew that again."""
    pictures: AtLeastOne = 8
    """Pictures of a step."""
    objects: AtLeastOne = 4
    """Objects of each of them, each seen twice."""
    shape_share: Share = 0.15
    """Of the pictures that are coloured shapes."""
    film_share: Share = 0.2
    """Of the other pictures that are drawn films."""
    evenness: Share = 0.6
    """Power of a kind's number of images that it is drawn by; 0: all kinds alike."""
    average: Decay = 0.998


class Clip(Section):
    """The micro CLIP."""

    steps: AtLeastOne = 2500
    rate: Positive = 6e-4
    warmup: Count = 40
    object_steps: Count = 500
    """First steps, without any text: single objects are told apart, shapes above all."""
    windows: AtLeastOne = 16
    """Windows of 192 px around objects, in every fifth step; small ones come in two of five."""
    crops: AtLeastOne = 10
    """Crops of 256 px, in every fifth step."""
    scenes: AtLeastOne = 3
    """Scenes of 512 px in every fifth step."""
    frames: AtLeastOne = 160
    """Drawn frames of cells that are kept in memory."""
    extra_shapes: Share = 0.3
    """Share of scenes of coloured shapes, on top of those of the ordinary mixture."""
    average: Decay = 0.995


class Calibration(Section):
    """The fit that turns scores into probabilities."""

    films: Annotated[int, Field(ge=2)] = 16
    frames: AtLeastOne = 5
    stills: Count = 40
    """Real images of those that were trained on, of all kinds alike."""


class MicroRecipe(Section):
    """Everything that decides what the micro models become."""

    held_out: Annotated[int, Field(ge=1, le=90)] = 20
    """Per cent of the real images that are never trained on, chosen by a hash of their names."""
    seed: Count = 0
    save_every_s: Positive = 120.0
    """A run that is cut off loses no more than this."""
    look_every: AtLeastOne = 250
    """Steps between two looks at held-out images, which are measured and drawn."""
    films: Films = Films()
    segmenter: Segmenter = Segmenter()
    refiner: RefinerPart = RefinerPart()
    clip: Clip = Clip()
    calibration: Calibration = Calibration()
