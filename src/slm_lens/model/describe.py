"""A model's layout in words, for people."""

from collections.abc import Iterable
from itertools import pairwise

import torch

from slm_lens.model.hooked import HookedSLM
from slm_lens.vocab import TOKEN_KINDS


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
    rows = {kind: _ranges(vocab.mask(kind).nonzero().flatten().tolist()) for kind in TOKEN_KINDS}
    for name, ids in vocab.streams.items():
        rows[f"speech stream {name!r}"] = _ranges(ids)
    prompt = model.prompt_format

    def label(token: int | None) -> str:
        return "none" if token is None else f"{vocab.label(token)} ({token})"

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
        "prompt format": {
            "begins with": label(prompt.bos),
            "speech marker": label(prompt.speech_marker),
            "text marker": label(prompt.text_marker),
            "speech-only prompt": "marked" if prompt.mark_speech_only else "bare",
            "text-only prompt": "marked" if prompt.mark_text_only else "bare",
        },
    }


def _ranges(ids: Iterable[int]) -> str:
    """Ids as inclusive ranges, with their number: ``174 rows: 3-176``."""
    ordered = sorted(ids)
    if not ordered:
        return "none"
    starts = [ordered[0], *(b for a, b in pairwise(ordered) if b != a + 1)]
    ends = [*(a for a, b in pairwise(ordered) if b != a + 1), ordered[-1]]
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
    return f"{len(ordered)} rows: {shown}"
