"""A model's layout in words, for people."""

from collections.abc import Iterable
from itertools import pairwise

import torch

from slm_lens.families.prompt import PromptFormat
from slm_lens.model.hooked import HookedSLM
from slm_lens.vocab import MARKER_NAMES, TOKEN_KINDS, SpeechTextVocab


def describe_model(model: HookedSLM) -> dict[str, dict[str, str]]:
    """What a model is, how its vocabulary is divided, and how its prompts are written.

    Args:
        model: the model.

    Returns:
        Named rows under the titles ``model``, ``vocabulary`` and ``prompt format``.
    """
    cfg, vocab, provenance = model.cfg, model.vocab, model.provenance
    n_parameters = sum(p.numel() for p in model.original_model.parameters())
    tied = torch.equal(model.W_E, model.W_U.T)
    rows = {kind: _rows(vocab.mask(kind).nonzero().flatten().tolist()) for kind in TOKEN_KINDS}
    for name, ids in vocab.streams.items():
        rows[f"speech stream {name!r}"] = _rows(ids)
    rows["recycled rows"] = _recycled(vocab)
    return {
        "model": {
            "name": provenance.name,
            "architecture": provenance.architecture,
            "parameters": f"{n_parameters:,}",
            "layers": str(cfg.n_layers),
            "d_model": str(cfg.d_model),
            "heads": f"{cfg.n_heads} ({cfg.n_key_value_heads or cfg.n_heads} for keys and values)",
            "embeddings": "tied" if tied else "not tied",
            "dtype": provenance.dtype,
            "attention": provenance.attention,
        },
        "vocabulary": {"d_vocab": str(vocab.d_vocab), **rows},
        "prompt format": _prompt_format(vocab, model.prompt_format),
    }


def _prompt_format(vocab: SpeechTextVocab, prompt: PromptFormat) -> dict[str, str]:
    def labels(tokens: Iterable[int]) -> str:
        return " ".join(f"{vocab.label(t)} ({t})" for t in tokens) or "none"

    turns = {
        f"chat turn in {modality}": f"{labels(turn.before)} ... {labels(turn.after)}"
        for modality, turn in prompt.chat.items()
    }
    markers = {
        f"{name.replace('_', ' ')} marker": labels(t for n, t in vocab.markers.items() if n == name)
        for name in MARKER_NAMES
    }
    return {
        "begins with": labels(prompt.before),
        "ends with": labels(prompt.after),
        **markers,
        "speech-only prompt": "marked" if prompt.mark_speech_only else "bare",
        "text-only prompt": "marked" if prompt.mark_text_only else "bare",
        "going on in the same modality": "marked again" if prompt.repeat_marker else "no marker",
        "first word of text": "after a space" if prompt.leading_space else "without a space",
        **(turns or {"chat": "none"}),
    }


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
