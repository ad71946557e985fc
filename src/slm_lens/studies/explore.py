"""Everything about one utterance: sound, units, words, lens grid, attention, attribution."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.attribution.direct import attribute_directly
from slm_lens.interventions.attribution.direct_result import DirectAttribution
from slm_lens.interventions.attribution.logit_directions import (
    LogitDirection,
    logit_of_tokens,
    logit_of_unit,
)
from slm_lens.interventions.changing import hook_point, hooked
from slm_lens.interventions.site import sites
from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.lens.lens_grid import lens_grid
from slm_lens.lens.states import Forward
from slm_lens.lens.tuned_lens import TunedLens
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.streams import phonetic_units, stream_times_s
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.alignment_files import read_alignment
from slm_lens.speech.audio import check_waveform, read_audio
from slm_lens.speech.units import Units
from slm_lens.studies.exploration import ClipAudio, Exploration
from slm_lens.vocab import WordPolicy

Attributed = LogitDirection | Literal["predicted"]


def explore(
    model: HookedSLM,
    source: str | Path | Float[Tensor, " n_samples"] | Utterance,
    *,
    alignment: Alignment | str | Path | None = None,
    name: str | None = None,
    k: int = 5,
    follow: Sequence[str] = (),
    attention: Sequence[int] | Literal["all"] | None = "all",
    attribute: Attributed | None = "predicted",
    at: int | None = None,
    policy: WordPolicy | None = None,
    lens: TunedLens | None = None,
    forward: Forward = "auto",
) -> Exploration:
    """Read one utterance in every way; in a notebook, the result shows itself.

    ::

        clip, words = slm_lens.clips_of("held-out")[0]
        slm_lens.explore(model, clip, alignment=words)

    Args:
        model: the model.
        source: a sound file; samples of one mono clip at the rate of the model's unit tokenizer;
            or an utterance, spoken, written or mixed, which is then shown without sound.
        alignment: the words of the clip with times, or the file that has them; None when they are
            not known. An utterance has its own.
        name: what to call it; None for the file's stem, or ``"clip"``.
        k: highest tokens in each cell of the lens grid.
        follow: words whose tokens are ranked in every cell, besides those of the utterance.
        attention: blocks whose patterns are kept, ``"all"``, or None for none. They take
            ``4 * n_heads * n_tokens ** 2`` bytes a block.
        attribute: what is divided among heads, MLPs and the words that heads read: a
            `LogitDirection`, or ``"predicted"``: the logit of the token that the model predicts
            (for a unit, less the mean of its stream); None for nothing.
        at: position at which it is predicted; None for the last one.
        policy: which tokens count as a word; None for the model's own.
        lens: what to read through; None for the logit lens.
        forward: which forward pass gives the states of the lens grid, as in `residual_stack`.

    Returns:
        What was read.

    Raises:
        TypeError: words are given twice, for an utterance has its own.
        ValueError: a word to follow that has no token, a position outside the utterance, or what
            `lens_grid`, `attribute_directly` and the model's attention refuse.
        AudioError: a sound file that cannot be used whole.
    """  # noqa: DOC502 (some raised by the functions it calls)
    utterance, audio, units, times_s = _utterance(model, source, alignment, name)
    grid = lens_grid(
        model,
        utterance,
        policy=policy or model.word_policy,
        k=k,
        follow=_tokens(model, follow, policy or model.word_policy),
        forward=forward,
        lens=lens,
    )
    layers = _layers(model, attention)
    return Exploration(
        utterance=utterance,
        audio=audio,
        vocab=model.vocab,
        units=units,
        times_s=times_s,
        grid=grid,
        attention=_patterns(model, utterance, layers) if layers else None,
        attention_layers=layers,
        attribution=_attribution(model, utterance, attribute, at),
    )


def _utterance(
    model: HookedSLM,
    source: str | Path | Tensor | Utterance,
    alignment: Alignment | str | Path | None,
    name: str | None,
) -> tuple[Utterance, ClipAudio | None, Units | None, Float[Tensor, "pos 2"]]:
    """What the model reads, its sound and units, and the time of every position."""
    if isinstance(source, Utterance):
        if alignment is not None:
            raise TypeError(
                "explore: got an utterance and an alignment, expected one of them to say where the "
                "words are. Give the sound file with the alignment, or the utterance alone."
            )
        named = source if name is None else replace(source, name=name)
        unknown_s = torch.full((len(source.sequence), 2), torch.nan, dtype=torch.float64)
        return named, None, None, unknown_s
    tokenizer = model.unit_tokenizer
    if isinstance(source, Tensor):
        check_waveform(source, "explore")
        waveform, stem = source, "clip"
    else:
        waveform = read_audio(source, sample_rate_hz=tokenizer.sample_rate_hz)
        stem = Path(source).stem
    audio = ClipAudio(waveform, tokenizer.sample_rate_hz)
    if isinstance(alignment, str | Path):
        alignment = read_alignment(alignment, clip_duration_s=audio.duration_s)
    units = tokenizer.encode(waveform)
    sequence = model.sequence_from_units(units, alignment)
    times_s = torch.full((len(sequence), 2), torch.nan, dtype=torch.float64)
    spoken = torch.tensor([kind == "speech" for kind in sequence.kinds])
    times_s[spoken] = stream_times_s(units, model.vocab)
    return Utterance(name or stem, sequence), audio, phonetic_units(units), times_s


def _tokens(model: HookedSLM, words: Sequence[str], policy: WordPolicy) -> list[int]:
    """Token ids of words to follow."""
    found = {w: model.vocab.word_tokens(w, policy) for w in words}
    without = [w for w, tokens in found.items() if not tokens]
    if without:
        raise ValueError(
            f"explore: got words to follow of which {without} have no token under policy "
            f"{policy!r}, expected words that have one. policy='first_piece' finds some for all."
        )
    return [t for tokens in found.values() for t in tokens]


def _layers(model: HookedSLM, attention: Sequence[int] | str | None) -> tuple[int, ...]:
    if attention is None:
        return ()
    chosen = None if attention == "all" else cast(Sequence[int], attention)
    return tuple(int(cast(int, s.layer)) for s in sites(model, "pattern", layers=chosen))


@torch.no_grad()
def _patterns(
    model: HookedSLM, utterance: Utterance, layers: Sequence[int]
) -> Float[Tensor, "layer head pos pos"]:
    """Attention patterns, from the bridge's forward pass."""
    found: dict[int, Tensor] = {}

    def keep(pattern: Tensor, hook: object, *, layer: int) -> None:  # noqa: ARG001
        found[layer] = pattern[0].float().cpu()

    points = [hook_point(model, f"blocks.{i}.attn.hook_pattern", "explore") for i in layers]
    hooks = [
        (point, partial(keep, layer=layer)) for point, layer in zip(points, layers, strict=True)
    ]
    with ONE_AT_A_TIME, hooked(hooks):
        given = utterance.sequence.tokens[None].to(model.cfg.device)
        cast(Any, model)(given, return_type="logits", logits_to_keep=1)
    return torch.stack([found[layer] for layer in layers])


def _attribution(
    model: HookedSLM, utterance: Utterance, attribute: Attributed | None, at: int | None
) -> DirectAttribution | None:
    if attribute is None:
        return None
    n = len(utterance.sequence)
    position = n - 1 if at is None else at
    if not 0 <= position < n:
        raise ValueError(
            f"explore: got at={at} for an utterance of {n} tokens, expected a position from 0 to "
            f"{n - 1}. The last position of word i is words[i].end - 1."
        )
    if not isinstance(attribute, LogitDirection):
        attribute = _predicted(model, utterance, position)
    return attribute_directly(
        cast(Any, model), [utterance], attribute, positions=[position], progress=False
    )


@torch.no_grad()
def _predicted(model: HookedSLM, utterance: Utterance, position: int) -> LogitDirection:
    """Logit of the likeliest next token; of a unit, less the mean of its stream."""
    tokens = utterance.sequence.tokens[None, : position + 1].to(model.cfg.device)
    with ONE_AT_A_TIME:
        top = int(cast(Any, model)(tokens, return_type="logits", logits_to_keep=1)[0, -1].argmax())
    for stream, ids in model.vocab.streams.items():
        if top in ids:
            unit = int(model.vocab.token_to_unit(torch.tensor(top), stream))
            return logit_of_unit(model, unit, stream=stream)
    return logit_of_tokens(model, [top])
