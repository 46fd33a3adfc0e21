"""From texts to masks in one frame: dense CLIP, prompts where it is warm, the SAM2 decoder, scores.

One CLIP pass with a last block without residual and MLP (NACLIP, Hajimiri et al. 2024, arXiv
2404.08181) gives a vector for each patch; a softmax against negative texts makes it a heatmap; its
peaks prompt the SAM2 mask decoder on the features that the tracker has computed already. Things
that are shown instead of named take the place of texts all along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engines.backends.face import Runner
from engines.candidates import Candidates, propose, select
from engines.decoding import decode_prompts
from engines.dense import require_plain_vit
from engines.detection import DetectorSettings, Found, Look, TextEvidence
from engines.edges import Edges
from engines.errors import ModelError
from engines.exemplars import Exemplar, ExemplarBook, learn
from engines.exported.heads import ExportedDecoder
from engines.features import Features
from engines.finder import Finder, find_spots
from engines.findings import Words, findings, mask_side
from engines.pieces import one_piece
from engines.proposals import coverage
from engines.redrawn import Redrawn, once, redraw
from engines.scoring import NO_RIVALS, Rivals, calibrate, final_score, sigmoid_bias
from engines.shown import Shown, shown_mask
from engines.texts import TextBank
from engines.verification import Question, verify
from engines.views import View, view_frame

__all__ = [
    "DetectorSettings",
    "Found",
    "Look",
    "Shown",
    "TextDetector",
    "TextEvidence",
    "calibrate",
]


class TextDetector:
    """Finds what texts describe, and what looks like a thing that was shown.

    Args:
        sam: A `SAM2Base`; only its prompt encoder and mask decoder are used.
        clip: An open_clip model with a plain ViT image tower.
        bank: The text bank of `clip`.
        settings: Thresholds.
        rendered_prompts: Whether `sam` wants prompts drawn as well (`engines.prompts`).
        device: A torch device.
        runners: Exported networks by the names of `engines.networks`: the mask decoder, the towers,
            or both; what is not there runs as modules.
        finder: Tells where objects are, whatever the texts; None to look where CLIP is warm.
        edges: Draws the edges of masks again before they are cut out and looked at once more.
        precision: What the finder computes in, as for `engines.precision.choose_precision`.

    Attributes:
        exemplars: What was shown so far, by label.
        looks: How often it has looked; every `recall_every`-th look searches the whole frame.

    Raises:
        ModelError: CLIP's image tower is of another kind, or the settings do not suit it.
    """

    def __init__(
        self,
        sam: Any,
        clip: Any,
        bank: TextBank,
        settings: DetectorSettings,
        *,
        rendered_prompts: bool = False,
        device: str = "cpu",
        runners: Mapping[str, Runner] | None = None,
        finder: Finder | None = None,
        edges: Edges | None = None,
        precision: str = "fp32",
    ) -> None:
        require_plain_vit(clip.visual)
        self._runners = runners or {}
        if "image_tower" in self._runners and settings.verify.startswith("token"):
            raise ModelError(
                f"verify {settings.verify!r} needs keys and values that exported towers keep to "
                "themselves; take verify pooled or crop, or backend torch"
            )
        self._bias = sigmoid_bias(clip, settings.score, settings.logit_bias)
        self.device = torch.device(device)
        self._sam = sam.to(self.device).eval()
        self._clip = clip.to(self.device).eval()
        self._bank = bank
        self._rendered = rendered_prompts
        decode = self._runners.get("mask_decoder")
        self._finder = None if finder is None else finder.to(self.device).eval()
        self._edges = edges
        self._precision = precision
        self._decoder = ExportedDecoder(self._sam, decode) if decode else None
        self.settings = settings
        self.exemplars = ExemplarBook()
        self.looks = 0

    def detect(
        self,
        image: npt.NDArray[np.uint8],
        features: Features,
        texts: Sequence[str] | None = None,
        negatives: Sequence[str] = (),
    ) -> list[Found]:
        """Find the objects that texts describe in one frame, best first; see `look`."""
        return self.look(image, features, texts, negatives).found

    @torch.inference_mode()
    def look(
        self,
        image: npt.NDArray[np.uint8],
        features: Features,
        texts: Sequence[str] | None = None,
        negatives: Sequence[str] = (),
        *,
        exemplars: Sequence[str] = (),
        shown: Sequence[Shown] = (),
    ) -> Look:
        """Look at one frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            features: The SAM2 features of the same frame.
            texts: What is asked for; each is weighed against the negatives on its own. None for
                the bank's texts. Empty to ask for exemplars only, or just to learn.
            negatives: The user's negatives, besides the bank's.
            exemplars: Labels of things that were shown, in this frame or before.
            shown: Things to learn from this frame first. One that cannot be learnt is refused and
                the rest goes on.

        Raises:
            ModelError: The bank is asked for its texts and has none.
        """
        view = self._view(image)
        refused = self._learn(view, features, shown)
        words, question = self._ask(texts, negatives, exemplars)
        for label in exemplars:
            if label not in words.exemplars:
                refused.setdefault(label, "it was not shown to this detector, or long ago; show it")
        self.looks += 1
        found = self._find(image, features, view, words, question) if words.labels else []
        return Look(found, view.whole.cpu().numpy(), refused)

    @torch.inference_mode()
    def describe(
        self,
        embeddings: npt.NDArray[np.float32],
        texts: Sequence[str] | None = None,
        negatives: Sequence[str] = (),
        exemplars: Sequence[str] = (),
    ) -> npt.NDArray[np.float32]:
        """Score embeddings under labels, as masks of quality 1 would be scored.

        Args:
            embeddings: (N, D) unit vectors: means of dense vectors, as `Found.embedding` is.
            texts: See `look`.
            negatives: See `look`.
            exemplars: See `look`; one that is not known scores 0.

        Returns:
            (N, T + E) in [0, 1], texts first.

        Raises:
            ModelError: D is another model's, or the bank is asked for its texts and has none.
        """
        words, question = self._ask(texts, negatives, exemplars)
        width = question.against.shape[1]
        if embeddings.ndim != 2 or embeddings.shape[1] != width:
            raise ModelError(f"embeddings are {embeddings.shape}; (N, {width}) is needed")
        vectors = torch.tensor(embeddings, dtype=torch.float32, device=self.device)
        probability = question.weigh(vectors).probability(self.settings.score)
        scores = final_score(probability, 1.0, self.settings.calibration).cpu().numpy()
        asked = (*words.texts, *exemplars)
        out = np.zeros((len(embeddings), len(asked)), dtype=np.float32)
        out[:, : len(words.texts)] = scores[:, : len(words.texts)]
        for place, label in enumerate(exemplars, len(words.texts)):
            if label in words.exemplars:
                out[:, place] = scores[:, len(words.texts) + words.exemplars.index(label)]
        return out

    @torch.inference_mode()
    def heatmap(
        self,
        image: npt.NDArray[np.uint8],
        texts: Sequence[str] | None = None,
        negatives: Sequence[str] = (),
        exemplars: Sequence[str] = (),
    ) -> npt.NDArray[np.float32]:
        """Return (T + E, rows, columns) probabilities by patch, texts first; see `look`.

        Exemplars that are not known are left out.
        """
        question = self._ask(texts, negatives, exemplars)[1]
        heat = question.weigh(self._view(image).vectors).heat
        out: npt.NDArray[np.float32] = heat.permute(2, 0, 1).contiguous().cpu().numpy()
        return out

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Decode a few prompts, so that the first look does not wait for what is made then."""
        if self._decoder is None:
            return
        model, count = self._sam, 15
        grid, width = int(model.sam_image_embedding_size), int(model.hidden_dim)
        blank = torch.zeros(1, width, grid, grid, device=self.device)
        half = blank.new_zeros(1, width // 4, 2 * grid, 2 * grid)
        quarter = blank.new_zeros(1, width // 8, 4 * grid, 4 * grid)
        features = Features(blank, half, quarter, (64, 64))
        points = blank.new_full((count, 2), 0.5)
        boxes = blank.new_tensor([[0.3, 0.3, 0.7, 0.7]]).expand(count, -1)
        self._decode(features, points, None)
        self._decode(features, points, boxes)

    # -- what is asked ---------------------------------------------------------------------------

    def _ask(
        self, texts: Sequence[str] | None, negatives: Sequence[str], exemplars: Sequence[str]
    ) -> tuple[Words, Question]:
        asked = self._bank.texts if texts is None else tuple(texts)
        against = tuple(dict.fromkeys([*self._bank.negatives, *negatives]))
        known = self.exemplars.find(exemplars)
        other = self._bank.embed(against).to(self.device)
        if asked or (texts is None and not exemplars):
            wanted = self._bank.embed(asked).to(self.device)
        else:
            wanted = other[:0]
        rivals = self._rivals(asked)
        question = Question(
            asked=wanted,
            against=other,
            scale=self._clip.logit_scale.exp().float(),
            bias=self._bias,
            exemplars=tuple(known.values()),
            rivals=rivals,
        )
        return Words(asked, against, tuple(known), rivals.of), question

    def _rivals(self, asked: Sequence[str]) -> Rivals:
        if not self.settings.verify.endswith("crop"):
            return NO_RIVALS  # patches alone tell one shape from another too badly
        pairs = [
            (row, other) for row, one in enumerate(asked) for other in self._bank.contrasts(one)
        ]
        if not pairs:
            return NO_RIVALS
        places, texts = zip(*pairs, strict=True)
        return Rivals(self._bank.embed(texts).to(self.device), places)

    def _learn(self, view: View, features: Features, shown: Sequence[Shown]) -> dict[str, str]:
        """Keep what can be learnt; return label -> why the rest cannot."""
        refused = {}
        for item in shown:
            try:
                self.exemplars.add(item.label, self._learn_one(view, features, item))
            except ModelError as error:
                refused[item.label] = str(error)
        return refused

    def _learn_one(self, view: View, features: Features, item: Shown) -> Exemplar:
        def decode(
            points: torch.Tensor, boxes: torch.Tensor | None
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return self._decode(features, points, boxes)

        mask, point = shown_mask(decode, item.box, features.frame_size, self.settings)
        return learn(view.vectors, coverage(mask[None], view.grid, point[None])[0])

    # -- what is seen ----------------------------------------------------------------------------

    def _view(self, image: npt.NDArray[np.uint8]) -> View:
        use = self.settings
        visual = self._clip.visual
        run = self._runners.get("image_tower")
        return view_frame(visual, image, use.clip_size_px, use.dense, use.tiles, self.device, run)

    def _decode(
        self, features: Features, points: torch.Tensor, boxes: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        points = points.to(self.device)
        boxes = None if boxes is None else boxes.to(self.device)
        return decode_prompts(
            self._sam, features, points, boxes, rendered=self._rendered, decoder=self._decoder
        )

    def _find(
        self,
        image: npt.NDArray[np.uint8],
        features: Features,
        view: View,
        words: Words,
        question: Question,
    ) -> list[Found]:
        use = self.settings
        patches = question.weigh(view.vectors)
        found = self._candidates(features, patches.heat.amax(-1))
        if not len(found):
            return []
        found, redrawn = self._drawn_again(image, found)
        if not len(found):
            return []
        masks = found.logits > 0
        inside = coverage(masks, view.grid, found.points)
        evidence = verify(
            self._clip, view, patches, question, image, masks, inside,
            mode=use.verify, score=use.score, crops=use.crops,
            run=self._runners.get("crop_tower"), redrawn=redrawn,
        )  # fmt: skip
        embeddings = view.pooled(inside)
        side = self._sam.image_size
        size = features.frame_size
        return findings(words, evidence, found, embeddings, use, size, side, redrawn)

    def _drawn_again(
        self, image: npt.NDArray[np.uint8], found: Candidates
    ) -> tuple[Candidates, Redrawn | None]:
        """Return the candidates with finer edges, each object once; as they are, without edges."""
        if self._edges is None:
            return found, None
        side = mask_side(self._sam.image_size)
        rows, redrawn = redraw(self._edges, image, found.logits, side)
        found = found.keep(rows)
        use = self.settings
        rows = once(redrawn, found.quality, use.nms_iou, use.contained)
        return found.keep(rows), redrawn.keep(rows)

    def _candidates(self, features: Features, heat: torch.Tensor) -> Candidates:
        use = self.settings

        def decode(
            points: torch.Tensor, boxes: torch.Tensor | None
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return self._decode(features, points, boxes)

        everywhere = use.recall_every > 0 and self.looks % use.recall_every == 0
        spots = None
        if self._finder is not None and use.finder:
            spots = find_spots(
                self._finder, features, use.finder_threshold, use.max_prompts, self._precision
            )
        found = propose(decode, heat, use, everywhere=everywhere, spots=spots)
        if not len(found):
            return found
        if use.one_piece:
            logits = one_piece(found.logits, found.points)
            found = Candidates(found.points, logits, found.quality, found.blind)
        height, width = features.frame_size
        return found.keep(select(found, heat, use, height * width))
