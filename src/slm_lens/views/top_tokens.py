"""What the model expects next at each position: top tokens with their log-probabilities."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.readout.parts import vocab_parts
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.views.page import View
from slm_lens.views.tokens import described_positions
from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab

_ROWS_AT_ONCE = 64  # of float32 softmax over the vocabulary


def top_tokens(
    logits: Float[Tensor, "n_tokens d_vocab"],
    sequence: SpeechTextSequence,
    vocab: SpeechTextVocab,
    *,
    k: int = 10,
    title: str = "What the model expects next",
    utterance: str | None = None,
) -> View:
    """Top tokens of every position, of the whole vocabulary, of text alone and of speech alone.

    The strip is coloured by the log-probability of the token that does come next; a click on a
    position lists its top tokens, and a click on one of them pins it in every view of the
    utterance.

    Args:
        logits: of the model, or of a lens, for one sequence.
        sequence: what the model read.
        vocab: the model's vocabulary.
        k: how many tokens.
        title: heading.
        utterance: name that views of one utterance share on a page.

    Returns:
        The view.

    Raises:
        ValueError: the logits are of another sequence or vocabulary, or no numbers; `k` is less
            than 1.
    """
    if tuple(logits.shape) != (len(sequence), vocab.d_vocab) or k < 1:
        raise ValueError(
            f"top_tokens: got logits of shape {tuple(logits.shape)} and k={k}, expected "
            f"[{len(sequence)}, {vocab.d_vocab}], one row for each position of the sequence, and "
            "k >= 1. Take one sequence of a batch."
        )
    # A token that cannot come next has -inf; a row of nothing else has no probabilities.
    if not logits.amax(-1).isfinite().all():  # the maximum is NaN where a logit is
        raise ValueError(
            "top_tokens: got logits that are NaN, inf, or all -inf at a position, expected "
            "numbers. Was the model run in float16? Use bfloat16 or float32."
        )
    top = _tops(logits, _subsets(vocab), k)
    shown = {int(t) for ids, _ in top.values() for t in ids.unique().tolist()}
    units = {t: (s, u) for s, ids in vocab.streams.items() for u, t in enumerate(ids)}
    data: dict[str, Any] = {
        **described_positions(sequence, vocab),
        "subsets": list(top),
        "ids": [ids.to(torch.int32).numpy() for ids, _ in top.values()],
        "log_probs": [log_probs.numpy() for _, log_probs in top.values()],
        "next": _next(logits, sequence),
        "names": {str(t): _name(t, vocab, units) for t in sorted(shown)},
    }
    description = (
        f"At each of {len(sequence)} positions the {k} tokens with the highest probability of "
        "being next, and the probability of the one that is."
    )
    return View("top_tokens", data, title, description, utterance, ("tokens",))


def _subsets(vocab: SpeechTextVocab) -> dict[str, Int[Tensor, " n"]]:
    parts = vocab_parts(vocab)
    of = {s: torch.isin(parts.part_of, parts.within(s)).nonzero()[:, 0] for s in parts.subsets}
    return {"all tokens": of.pop("full"), **of}


def _tops(
    logits: Float[Tensor, "n_tokens d_vocab"], subsets: Mapping[str, Int[Tensor, " n"]], k: int
) -> dict[str, tuple[Int[Tensor, "n_tokens _"], Float[Tensor, "n_tokens _"]]]:
    """Top tokens among each subset; log-probabilities are those among all tokens."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in subsets}
    for rows in logits.detach().split(_ROWS_AT_ONCE):
        log_probs = rows.float().log_softmax(-1)
        for name, ids in subsets.items():
            best = log_probs[:, ids.to(rows.device)].topk(min(k, len(ids)), dim=-1)
            found[name].append((ids[best.indices.cpu()], best.values.cpu()))
    return {
        name: (torch.cat([ids for ids, _ in pieces]), torch.cat([values for _, values in pieces]))
        for name, pieces in found.items()
    }


def _next(
    logits: Float[Tensor, "n_tokens d_vocab"], sequence: SpeechTextSequence
) -> list[dict[str, Any] | None]:
    """Log-probability and rank of the token that follows; None at the end."""
    following = sequence.tokens[1:].to(logits.device)
    found: list[dict[str, Any] | None] = []
    for rows, tokens in zip(
        logits[:-1].detach().split(_ROWS_AT_ONCE),
        following.split(_ROWS_AT_ONCE),
        strict=True,
    ):
        scores = rows.float()
        own = scores.gather(1, tokens[:, None])
        ranks = 1 + (scores > own).sum(1)
        log_probs = (own[:, 0] - scores.logsumexp(1)).tolist()
        found += [
            {"token": t, "log_prob": p, "rank": r}
            for t, p, r in zip(tokens.tolist(), log_probs, ranks.tolist(), strict=True)
        ]
    return [*found, None]


def _name(token: int, vocab: SpeechTextVocab, units: dict[int, tuple[str, int]]) -> dict[str, Any]:
    """As `described_positions` names a position's token."""
    found: dict[str, Any] = {
        "label": vocab.label(token),
        "kind": TOKEN_KINDS[int(vocab.kind_of[token])],
    }
    if token in units:
        found["stream"], found["unit"] = units[token]
    return found
