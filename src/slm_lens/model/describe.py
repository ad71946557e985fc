"""A model's layout in words, for people."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import torch

from slm_lens.errors import SlmLensError
from slm_lens.families.prompt import Turn
from slm_lens.model._examples import example_prompts
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.word_span import Modality
from slm_lens.vocab import MARKER_NAMES, TOKEN_KINDS, SpeechTextVocab

SHOWN_AT_ENDS = 4  # of the tokens around an example's words
NO_TURN = Turn(before=(), after=())


def describe_model(model: HookedSLM) -> dict[str, dict[str, str]]:
    """What a model is, how its vocabulary is divided, and how its prompts are written.

    Args:
        model: the model.

    Returns:
        Named rows under the titles ``model``, ``vocabulary``, ``prompt format`` and ``prompts``.
    """
    cfg, vocab, provenance = model.cfg, model.vocab, model.provenance
    n_parameters = sum(p.numel() for p in model.original_model.parameters())
    tied = torch.equal(model.W_E, model.W_U.T)
    rows = {kind: _rows(vocab.mask(kind).nonzero().flatten().tolist()) for kind in TOKEN_KINDS}
    for name, ids in vocab.streams.items():
        rows[f"speech stream {name!r}"] = _rows(ids) + _timing(model, name)
    rows["recycled rows"] = _recycled(vocab)
    return {
        "model": {
            "name": provenance.name,
            "family": provenance.family,
            "architecture": provenance.architecture,
            "parameters": f"{n_parameters:,}",
            "layers": str(cfg.n_layers),
            "d_model": str(cfg.d_model),
            "heads": f"{cfg.n_heads} ({cfg.n_key_value_heads or cfg.n_heads} for keys and values)",
            "embeddings": "tied" if tied else "not tied",
            "dtype": provenance.dtype,
            "attention": f"{provenance.attention} (hooked), {model.plain_forward.attention} (fast)",
            "adapter": provenance.adapter or "none",
            "unit tokenizer": _unit_tokenizer(model),
            "tokens of a word": model.word_policy,
        },
        "vocabulary": {"d_vocab": str(vocab.d_vocab), **rows},
        "prompt format": _prompt_format(model),
        "prompts": _examples(model),
    }


def _timing(model: HookedSLM, stream: str) -> str:
    """Frame rate and deduplication of a stream, as far as its family knows them."""
    described = model.vocab_spec.streams.get(stream) if model.vocab_spec else None
    parts = []
    if described is not None and described.frame_rate_hz is not None:
        parts.append(f"{described.frame_rate_hz:g} Hz")
    if described is not None and described.deduplicated is not None:
        parts.append("deduplicated" if described.deduplicated else "not deduplicated")
    return "; " + ", ".join(parts) if parts else ""


def _unit_tokenizer(model: HookedSLM) -> str:
    if not hasattr(model, "unit_tokenizer"):
        return "none: load(..., unit_tokenizer=...)"
    made = model.unit_tokenizer
    dedup = "deduplicated" if made.dedup else "not deduplicated"
    return f"{type(made).__name__}: {made.n_units} units, {made.frame_rate_hz:g} Hz, {dedup}"


def _examples(model: HookedSLM) -> dict[str, str]:
    """Example prompts as tokens and ids, text in quotes; or why one cannot be written."""
    shown = {}
    for kind, make in example_prompts(model).items():
        turn = model.prompt_format.chat.get(cast(Modality, kind.removeprefix("chat in ")), NO_TURN)
        try:
            sequence = make()
        except SlmLensError as error:
            shown[kind] = f"cannot be written: {error}"
            continue
        named = [
            f"{json.dumps(label, ensure_ascii=False) if k == 'text' else label} ({t})"
            for t, k in zip(sequence.tokens.tolist(), sequence.kinds, strict=True)
            for label in [model.vocab.label(t)]
        ]
        start = len(model.prompt_format.before) + len(turn.before)
        end = len(named) - len(turn.after)
        shown[kind] = " ".join(_cut(named[:start]) + named[start:end] + _cut(named[end:]))
    return shown


def _cut(named: list[str]) -> list[str]:
    """Both ends of what stands around the words; a system prompt is long."""
    left_out = len(named) - 2 * SHOWN_AT_ENDS
    if left_out <= 1:
        return named
    return [*named[:SHOWN_AT_ENDS], f"... {left_out} more ...", *named[-SHOWN_AT_ENDS:]]


def _prompt_format(model: HookedSLM) -> dict[str, str]:
    vocab, prompt = model.vocab, model.prompt_format

    def labels(tokens: Iterable[int]) -> str:
        return " ".join(f"{vocab.label(t)} ({t})" for t in tokens) or "none"

    def text(tokens: Iterable[int]) -> str:
        return json.dumps("".join(map(vocab.label, tokens)), ensure_ascii=False)

    turns = {
        f"chat turn in {modality}": f"{text(turn.before)} ... {text(turn.after)}"
        for modality, turn in prompt.chat.items()
    }
    return {
        "begins with": labels(prompt.before),
        "ends with": labels(prompt.after),
        **{f"{name.replace('_', ' ')} marker": _marker(model, name) for name in MARKER_NAMES},
        "speech-only prompt": "marked" if prompt.mark_speech_only else "bare",
        "text-only prompt": "marked" if prompt.mark_text_only else "bare",
        "going on in the same modality": "marked again" if prompt.repeat_marker else "no marker",
        "first word of text": "after a space" if prompt.leading_space else "without a space",
        **(turns or {"chat": "none"}),
    }


def _marker(model: HookedSLM, name: str) -> str:
    """Label and id of a marker, and how the tokenizer writes it, if that is something else."""
    if name not in model.vocab.markers:
        return "none"
    token = model.vocab.markers[name]
    label = model.vocab.label(token)
    written = label if model.tokenizer is None else model.tokenizer.convert_ids_to_tokens(token)
    return f"{label} ({token})" + ("" if written == label else f", written {written}")


def _recycled(vocab: SpeechTextVocab) -> str:
    """Rows that the text model had before, and which units have them."""
    recycled = set(vocab.recycled)
    units = [u for u, t in enumerate(vocab.streams["units"]) if t in recycled]
    return _rows(recycled) + (f"; units {_ranges(units)}" if units else "")


def _rows(ids: Iterable[int]) -> str:
    """Ids as inclusive ranges, with their number: ``174 rows: 3-176``."""
    ordered = sorted(ids)
    return f"{len(ordered)} rows: {_ranges(ordered)}" if ordered else "none"


def _ranges(ordered: list[int]) -> str:
    """Rising numbers as inclusive ranges: ``3-176, 180``; every fourth: ``3-176 in steps of 4``."""
    steps = {b - a for a, b in pairwise(ordered)}
    if len(ordered) > 2 and len(steps) == 1 and steps != {1}:
        return f"{ordered[0]}-{ordered[-1]} in steps of {steps.pop()}"
    starts = [ordered[0], *(b for a, b in pairwise(ordered) if b != a + 1)]
    ends = [*(a for a, b in pairwise(ordered) if b != a + 1), ordered[-1]]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
