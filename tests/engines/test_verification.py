from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engines.build import build_clip
from engines.clip_models import crop_size_px, image_statistics
from engines.crops import embed_crops, mask_crops
from engines.dense import dense_pass
from engines.errors import ModelError
from engines.exemplars import Exemplar
from engines.images import to_input
from engines.mask_tokens import mask_tokens, patch_masks
from engines.scoring import Evidence, pool, weigh
from engines.verification import CropSettings, Question, doubtful, require_verify_mode, verify
from engines.views import View


@dataclass
class Scene:
    """A picture with two masks and an empty one, as a model with random weights sees it."""

    clip: Any
    image: np.ndarray
    view: View
    patches: Evidence
    question: Question
    masks: torch.Tensor
    inside: torch.Tensor

    def verify(self, mode: str, crops: CropSettings | None = None) -> Evidence:
        with torch.inference_mode():
            return verify(
                self.clip, self.view, self.patches, self.question, self.image, self.masks,
                self.inside, mode=mode, score="softmax", crops=crops or CropSettings(),
            )  # fmt: skip


@pytest.fixture(scope="module")
def scene() -> Scene:
    torch.manual_seed(0)
    clip = build_clip("micro")
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    masks = torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[0, 4:30, 4:30] = True
    masks[1, 33:60, 10:60] = True
    with torch.inference_mode():
        planes = to_input(image, (256, 256), *image_statistics(clip.visual), torch.device("cpu"))
        found = dense_pass(clip.visual, planes)
        vectors = F.normalize(found.patches[0], dim=-1)
        asked, against = F.normalize(torch.randn(6, 128), dim=-1).split([2, 4])
        shown = Exemplar(vectors[3, 3], vectors[12, 12][None])
        question = Question(asked, against, torch.tensor(5.0), 0.0, (shown,))
        patches = question.weigh(vectors)
        view = View(vectors, F.normalize(found.whole[0], dim=-1), found)
    inside = F.interpolate(masks[:, None].float(), size=(16, 16), mode="area")[:, 0] + 1e-6
    inside = inside / inside.flatten(1).sum(1)[:, None, None]
    return Scene(clip, image, view, patches, question, masks, inside)


def test_pooled_is_the_mean_of_the_patches(scene: Scene) -> None:
    assert torch.equal(scene.verify("pooled").own, pool(scene.patches, scene.inside).own)


@torch.inference_mode()
def test_token_asks_a_class_token_for_each_mask(scene: Scene) -> None:
    assert scene.view.joint is not None
    vectors = mask_tokens(scene.clip.visual, scene.view.joint, patch_masks(scene.inside))
    use = scene.question
    expected = weigh(F.normalize(vectors, dim=-1), use.asked, use.against, use.scale)
    assert torch.allclose(scene.verify("token").own, expected.own, atol=1e-6)


@pytest.mark.parametrize(("mode", "first"), [("crop", "pooled"), ("token+crop", "token")])
@torch.inference_mode()
def test_crops_are_combined_with_the_first_look(scene: Scene, mode: str, first: str) -> None:
    crops = CropSettings(style="soft", band=(0.0, 1.0), weight=0.25)
    visual = scene.clip.visual
    side = crop_size_px(visual)
    planes = mask_crops(scene.image, scene.masks[:2], side, "soft", *image_statistics(visual))
    seen = scene.question.weigh(embed_crops(visual, planes))
    before, after = scene.verify(first), scene.verify(mode, crops)
    for name in ("own", "p_pos", "p_neg", "sigmoid"):
        expected = 0.75 * getattr(before, name)[:2] + 0.25 * getattr(seen, name)
        assert torch.allclose(getattr(after, name)[:2], expected, atol=1e-5), name
        # There is nothing to cut out of an empty mask.
        assert torch.equal(getattr(after, name)[2], getattr(before, name)[2])


@pytest.mark.parametrize("mode", ["pooled", "token", "crop", "token+crop"])
def test_an_exemplar_is_compared_with_the_mean_of_the_patches_always(
    scene: Scene, mode: str
) -> None:
    evidence = scene.verify(mode, CropSettings(band=(0.0, 1.0)))
    mean = F.normalize(torch.einsum("nhw,hwd->nd", scene.inside, scene.view.vectors), dim=-1)
    expected = scene.question.exemplars[0].heat(mean)[:, None]
    assert torch.allclose(evidence.shown, expected, atol=1e-6)
    assert torch.equal(evidence.probability("softmax")[:, 2:], evidence.shown)


def test_without_texts_there_is_nothing_to_cut_out(scene: Scene) -> None:
    use = scene.question
    alone = replace(scene, question=replace(use, asked=use.asked[:0]), clip=None)
    alone.patches = alone.question.weigh(scene.view.vectors)
    evidence = alone.verify("crop", CropSettings(band=(0.0, 1.0)))
    assert evidence.probability("multiplier").shape == (3, 1)


def test_tiles_have_no_pass_that_tokens_could_join(scene: Scene) -> None:
    tiled = replace(scene, view=replace(scene.view, joint=None))
    assert torch.equal(tiled.verify("pooled").own, scene.verify("pooled").own)
    with pytest.raises(ModelError, match="verify 'token' needs one pass over the frame; beside"):
        tiled.verify("token")


def test_what_is_not_doubtful_stays(scene: Scene) -> None:
    sure = CropSettings(band=(1.0, 1.0))
    assert torch.equal(scene.verify("token+crop", sure).own, scene.verify("token").own)
    none = CropSettings(band=(0.0, 1.0), most=0)
    assert torch.equal(scene.verify("crop", none).own, scene.verify("pooled").own)


def test_the_most_doubtful_go_first() -> None:
    probability = torch.tensor([0.36, 0.9, 0.52, 0.1, 0.45, 0.65])
    assert doubtful(probability, CropSettings()).tolist() == [2, 4, 0, 5]
    assert doubtful(probability, CropSettings(most=1)).tolist() == [2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"style": "blur"}, "crop style 'blur' is unknown"),
        ({"band": (0.7, 0.3)}, "accepted is 0 <= low <= high <= 1"),
        ({"most": -1}, "accepted is 0 or more"),
        ({"weight": 1.5}, "crop weight 1.5"),
    ],
)
def test_settings_that_cannot_be_are_said(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        CropSettings(**wrong)
    with pytest.raises(ModelError, match="'look' is unknown; accepted are pooled, token, crop"):
        require_verify_mode("look")
