"""The grid of what every layer says at every word and position of an utterance.

One pass over the vocabulary finds the highest tokens and the modality of each cell, a second one
ranks what is followed: the utterance's words, what the caller names, and the tokens that stand
highest in the most cells, so that any of them can be pinned in the picture and followed through
the layers. Logits of ``[layer, pos, d_vocab]`` never exist (`readout.read_out`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.grid_result import MASSES, Followed, GridCells, GridSite, LensGrid
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import SpeechTextModel, require_vocabulary
from slm_lens.lens.states import Forward, choose_forward, provenance_of, stack_and_check
from slm_lens.lens.tuned_lens import TunedLens
from slm_lens.lens.word_lens import LOGIT_LENS
from slm_lens.readout._block import Site
from slm_lens.readout.parts import OTHER
from slm_lens.readout.read_out import read_out
from slm_lens.readout.wanted import NO_TOKEN, Readout, Statistic, Wanted, target_sets
from slm_lens.sequence.utterance import Utterance
from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab, WordPolicy


def lens_grid(
    model: SpeechTextModel,
    utterance: Utterance,
    *,
    policy: WordPolicy,
    k: int = 5,
    positions: bool = True,
    follow: Sequence[int] = (),
    n_follow: int = 48,
    forward: Forward = "auto",
    lens: TunedLens | None = None,
) -> LensGrid:
    """Read every word and position of an utterance at every layer.

    Args:
        model: the model, in evaluation mode.
        utterance: what to read; with or without words.
        policy: which tokens count as a word, see `SpeechTextVocab.word_tokens`.
        k: highest tokens of each cell, of text and of everything.
        positions: read single positions, too; words alone need less room.
        follow: token ids to rank in every cell, besides the utterance's words.
        n_follow: how many more tokens to rank: those that are among the `k` highest of the most
            cells, ties by the lower id.
        forward: which forward pass gives the states, as in `residual_stack`.
        lens: what to read through; None for the logit lens.

    Returns:
        The grid.

    Raises:
        ValueError: `k` or `n_follow` out of range, a token id outside the vocabulary, neither
            words nor positions to read, a lens of another model, or a model that
            `residual_stack` refuses.
        TypeError: the model knows no vocabulary, or `lens` is no tuned lens.

    Source:
        Ours; the logit lens as in `slm_lens.lens.logit_lens`.
    """  # noqa: DOC502 (raised by _check and the functions it calls)
    require_vocabulary(model, "lens_grid")
    _check(model, k, n_follow, follow, lens)
    sequence, vocab = utterance.sequence, model.vocab
    used = choose_forward(model, forward, "lens_grid")
    reader = LogitLens(model)
    stack = stack_and_check(model, reader, sequence.tokens[None], None, forward=used)[:, 0]
    if lens is not None:
        stack = torch.stack([lens.translate(h, layer) for layer, h in enumerate(stack)])
    rows = _rows(utterance, positions)
    found = {sites: _tops(stack, reader, spans, sites, k) for sites, (spans, _) in rows.items()}
    words, word_followed = _words(vocab, utterance, policy)
    tops: dict[GridSite, Readout] = {
        site: read for reads in found.values() for site, read in reads.items()
    }
    chosen = _followed_tokens(tops, follow, n_follow)
    followed = (*words, *(Followed(vocab.label(t), (t,), False) for t in chosen))
    cells: dict[GridSite, GridCells] = {}
    for sites, (spans, numbers) in rows.items():
        ranked = _ranked(stack, reader, spans, sites, followed)
        for site, top in found[sites].items():
            cells[site] = _cells(spans, numbers, top, ranked.get(site), len(stack))
    mentioned = _mentioned(sequence.tokens, cells, followed)
    return LensGrid(
        utterance=utterance.name,
        tokens=sequence.tokens,
        kinds=sequence.kinds,
        words=sequence.words,
        followed=followed,
        word_followed=word_followed,
        cells=cells,
        labels={t: vocab.label(t) for t in mentioned},
        label_kinds={t: TOKEN_KINDS[int(vocab.kind_of[t])] for t in mentioned},
        units=_units(vocab, mentioned),
        n_layers=model.cfg.n_layers,
        n_text=len(vocab.text),
        d_vocab=vocab.d_vocab,
        k=k,
        policy=policy,
        lens=LOGIT_LENS if lens is None else lens.name,
        provenance=replace(provenance_of(model, used), kernel=next(iter(tops.values())).kernel),
    )


def _check(
    model: SpeechTextModel, k: int, n_follow: int, follow: Sequence[int], lens: TunedLens | None
) -> None:
    outside = [t for t in follow if not 0 <= t < model.vocab.d_vocab]
    if k < 1 or n_follow < 0 or outside:
        raise ValueError(
            f"lens_grid: got k={k}, n_follow={n_follow} and the token ids {outside[:4]} outside "
            f"the vocabulary, expected k >= 1, n_follow >= 0 and ids below {model.vocab.d_vocab}."
        )
    if lens is None:
        return
    if not isinstance(lens, TunedLens):
        raise TypeError(
            f"lens_grid: got a {type(lens).__name__} as lens, expected a TunedLens, or None for "
            "the logit lens."
        )
    lens.require_model(model, "lens_grid")


_Rows = dict[tuple[GridSite, ...], tuple[Int[Tensor, "row 2"], tuple[int | None, ...]]]


def _rows(utterance: Utterance, positions: bool) -> _Rows:
    """Spans of the rows of each site with the number of their word; sites that share them."""
    words = utterance.sequence.words
    rows: _Rows = {}
    with_position = [i for i, w in enumerate(words) if w.start < w.end]
    if with_position:
        spans = torch.tensor([[words[i].start, words[i].end] for i in with_position])
        rows["max", "last"] = spans, tuple(with_position)
    if positions:
        n = len(utterance.sequence)
        word_of: list[int | None] = [None] * n
        for i in with_position:
            word_of[words[i].start : words[i].end] = [i] * (words[i].end - words[i].start)
        at = torch.arange(n)
        rows[("position",)] = torch.stack([at, at + 1], 1), tuple(word_of)
    if not rows:
        raise ValueError(
            f"lens_grid: utterance {utterance.name!r} has no word with a position, and "
            "positions=False; expected words, or positions=True."
        )
    return rows


def _read(
    stack: Float[Tensor, "layer pos d_model"],
    reader: LogitLens,
    spans: Int[Tensor, "row 2"],
    sites: tuple[GridSite, ...],
    wanted: Wanted,
) -> dict[GridSite, Readout]:
    """One pass; a single position is read as a word of one position, for its sets of targets."""
    as_words: dict[Site, Wanted] = {("last" if s == "position" else s): wanted for s in sites}
    read = read_out(
        stack, reader.unembedding, reader.parts, as_words, normalise=reader.normed,
        spans=spans.to(stack.device),
    )  # fmt: skip
    return {s: read["last" if s == "position" else s] for s in sites}


def _within(reader: LogitLens) -> tuple[str, ...]:
    return tuple(s for s in ("text", "full") if s in reader.parts.subsets)


def _tops(
    stack: Float[Tensor, "layer pos d_model"],
    reader: LogitLens,
    spans: Int[Tensor, "row 2"],
    sites: tuple[GridSite, ...],
    k: int,
) -> dict[GridSite, Readout]:
    asked: frozenset[Statistic] = frozenset({"top_k", "mass", "log_normaliser"})
    return _read(stack, reader, spans, sites, Wanted(asked, None, _within(reader), k))


def _ranked(
    stack: Float[Tensor, "layer pos d_model"],
    reader: LogitLens,
    spans: Int[Tensor, "row 2"],
    sites: tuple[GridSite, ...],
    followed: Sequence[Followed],
) -> dict[GridSite, Readout]:
    if not followed:
        return {}
    sets = target_sets([[f.tokens for f in followed]]).expand(len(spans), -1, -1)
    asked: frozenset[Statistic] = frozenset({"rank", "log_prob"})
    return _read(stack, reader, spans, sites, Wanted(asked, sets, _within(reader)))


def _words(
    vocab: SpeechTextVocab, utterance: Utterance, policy: WordPolicy
) -> tuple[tuple[Followed, ...], tuple[int | None, ...]]:
    """The words that can be ranked, each spelling once, and the number of each word's."""
    number: dict[str, int | None] = {}
    followed: list[Followed] = []
    for w in utterance.sequence.words:
        if w.word in number:
            continue
        tokens = vocab.word_tokens(w.word, policy) if len(vocab.text) else ()
        number[w.word] = len(followed) if tokens else None
        followed += [Followed(w.word, tokens, True)] if tokens else []
    return tuple(followed), tuple(number[w.word] for w in utterance.sequence.words)


def _followed_tokens(
    tops: Mapping[GridSite, Readout], given: Sequence[int], n_more: int
) -> list[int]:
    """The tokens that were asked for, then those in the most cells of the first site."""
    seen: Counter[int] = Counter()
    for top in next(iter(tops.values())).top_k.values():
        seen.update(top.ids[top.ids != NO_TOKEN].tolist())
    asked = list(dict.fromkeys(given))
    others = sorted((t for t in seen if t not in set(asked)), key=lambda t: (-seen[t], t))
    return [*asked, *others[:n_more]]


def _cells(
    spans: Int[Tensor, "row 2"],
    words: tuple[int | None, ...],
    top: Readout,
    ranked: Readout | None,
    n_layers: int,
) -> GridCells:
    mass = [
        sum((m for part, m in top.mass.items() if _modality(part) == name), torch.zeros(()))
        for name in MASSES
    ]
    zero = next(iter(top.mass.values())).cpu() * 0
    nothing = torch.zeros(n_layers, len(spans), 0)
    return GridCells(
        spans=spans,
        words=words,
        top_ids={s: t.ids.cpu() for s, t in top.top_k.items()},
        top_log_prob={
            s: (t.logits - top.log_normaliser[s][..., None]).float().cpu()
            for s, t in top.top_k.items()
        },
        mass=torch.stack([zero + m.cpu() for m in mass], -1),
        rank={
            s: nothing.long() if ranked is None else ranked.rank[s].cpu() for s in top.top_k
        },
        log_prob={s: nothing if ranked is None else ranked.log_prob[s].cpu() for s in top.top_k},
    )  # fmt: skip


def _modality(part: str) -> str:
    return part if part in ("text", OTHER) else "speech"


def _units(vocab: SpeechTextVocab, tokens: Sequence[int]) -> dict[int, tuple[str, int]]:
    """Stream and number of those tokens that are units."""
    asked = set(tokens)
    every = {t: (s, u) for s, ids in vocab.streams.items() for u, t in enumerate(ids) if t in asked}
    return {t: every[t] for t in tokens if t in every}


def _mentioned(
    tokens: Int[Tensor, " pos"],
    cells: Mapping[GridSite, GridCells],
    followed: Sequence[Followed],
) -> list[int]:
    """Every token id that the grid names."""
    ids = [tokens.cpu(), torch.tensor([t for f in followed for t in f.tokens], dtype=torch.int64)]
    ids += [x.flatten() for c in cells.values() for x in c.top_ids.values()]
    every = torch.cat(ids).unique()
    return every[every != NO_TOKEN].tolist()
