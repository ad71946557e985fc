"""The next word after a text and after the same words spoken: what is predicted, what is looked at.

A prompt is the beginning of a clip, up to the end of a word. Written, it ends with that word's last
token. Spoken, what ends the speech and announces text follows, as far as the model's format has it.
The last position of either *decides*: its attention is measured, and its prediction among text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.geometry.coverage import attention_coverage
from slm_lens.geometry.paired import PairedUtterance
from slm_lens.interventions.changing import hook_point, hooked
from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import MODALITIES, Modality

COVERED = 0.9
HEADS = ("mean of the patterns", "mean over heads")


@dataclass(frozen=True, eq=False)
class Decision:
    """What one prompt led to.

    Attributes:
        utterance: index of its utterance.
        modality: of the prompt.
        n_words: words of the prompt.
        n_positions: positions that the deciding one sees, itself included.
        is_right: the likeliest text token begins the next word.
        is_control: it begins the word of the same number in another clip, where that is another
            word; None if there is none.
        spread: by layer, way of bringing heads together, and measure: tokens that hold 90 % of the
            attention, the largest weight, normalised entropy.
    """

    utterance: int
    modality: Modality
    n_words: int
    n_positions: int
    is_right: bool
    is_control: bool | None
    spread: Float[np.ndarray, "layer heads measure"]


def decisions(
    model: HookedSLM,
    pairs: Sequence[PairedUtterance],
    others: Sequence[Sequence[int]],
    *,
    n_prompts: int,
) -> list[Decision]:
    """Predict the next word after beginnings of every utterance, spoken and written.

    Args:
        model: the model.
        pairs: utterances.
        others: the utterances whose words are the control of each.
        n_prompts: beginnings of each utterance, evenly spread, fewer for a short one.

    Returns:
        Two for each prompt. A next word that has no token under the model's `word_policy` cannot be
        predicted in one, and its prompts are left out.
    """
    found = []
    for u, pair in enumerate(pairs):
        words = [w.word for w in pair.text.words]
        for n_words in beginnings(len(words), n_prompts):
            target = _tokens(model, words[n_words])
            if not target:
                continue
            control = _control(model, target, [pairs[j] for j in others[u]], n_words)
            for modality in MODALITIES:
                prompt = prompt_of(model, getattr(pair, modality), n_words, modality)
                predicted, spread = _decide(model, prompt)
                found.append(
                    Decision(
                        utterance=u,
                        modality=modality,
                        n_words=n_words,
                        n_positions=len(prompt),
                        is_right=predicted in target,
                        is_control=None if control is None else predicted in control,
                        spread=spread,
                    )
                )
    return found


def beginnings(n_words: int, n_prompts: int) -> tuple[int, ...]:
    """How many words the prompts have.

    Args:
        n_words: of the utterance; the next word of a prompt is one of them.
        n_prompts: how many prompts.

    Returns:
        Rising, without repetition, from 1 to ``n_words - 1``, the last one included.
    """
    ends = np.linspace(0, n_words - 1, n_prompts + 1)[1:].round().astype(int)
    return tuple(int(n) for n in np.unique(ends) if n > 0)


def prompt_of(
    model: HookedSLM, sequence: SpeechTextSequence, n_words: int, modality: Modality
) -> Tensor:
    """The beginning of an utterance, as the model reads it when text is to follow.

    Args:
        model: knows its markers.
        sequence: a whole utterance of one modality.
        n_words: words of the prompt.
        modality: of the utterance.

    Returns:
        Token ids.
    """
    tokens = sequence.tokens[: sequence.words[n_words - 1].end].tolist()
    if modality == "speech":
        markers = model.vocab.markers
        tokens += [markers[name] for name in ("speech_end", "text") if name in markers]
    return torch.tensor(tokens)


@torch.no_grad()
def _decide(
    model: HookedSLM, tokens: Tensor
) -> tuple[int, Float[np.ndarray, "layer heads measure"]]:
    """Likeliest text token behind a prompt, and the spread of its last position's attention."""
    rows: dict[int, Tensor] = {}

    def keep(pattern: Tensor, hook: object, *, layer: int) -> None:  # noqa: ARG001
        rows[layer] = pattern[0, :, -1].float().cpu()

    layers = range(model.cfg.n_layers)
    names = [f"blocks.{i}.attn.hook_pattern" for i in layers]
    points = [hook_point(model, name, "study 'geometry'") for name in names]
    hooks = [(p, partial(keep, layer=i)) for i, p in zip(layers, points, strict=True)]
    with ONE_AT_A_TIME, hooked(hooks):
        given = tokens[None].to(model.cfg.device)
        logits = cast(Any, model)(given, return_type="logits", logits_to_keep=1)[0, -1]
    in_text = model.vocab.mask("text").to(logits.device)
    predicted = int(logits.float().masked_fill(~in_text, -torch.inf).argmax())
    return predicted, np.stack([list(_spreads(rows[i])) for i in layers])


def _spreads(row: Float[Tensor, "head key"]) -> Iterator[list[float]]:
    """The three measures for each of `HEADS`."""
    for one in (row.mean(0, keepdim=True), row):
        cover = attention_coverage(one, share=COVERED)
        parts = (cover.n_tokens.double(), cover.largest, cover.entropy)
        yield [float(part.mean()) for part in parts]


def _control(
    model: HookedSLM, target: set[int], others: Sequence[PairedUtterance], n_words: int
) -> set[int] | None:
    """Tokens of the word of the same number in the first other clip that has another one."""
    for other in others:
        if n_words < len(other.text.words):
            tokens = _tokens(model, other.text.words[n_words].word)
            if tokens and not tokens & target:
                return tokens
    return None


def _tokens(model: HookedSLM, word: str) -> set[int]:
    return set(model.vocab.word_tokens(word, model.word_policy))
