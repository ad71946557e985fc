"""From what is known of each part of the vocabulary to what was asked for."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from slm_lens.readout._block import PartState, SiteRows
from slm_lens.readout._softmax import Sums, divergence, entropy, joined, log_normaliser
from slm_lens.readout._top import no_keys, unpack
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.wanted import NO_RANK, NO_TARGET, Readout, TopK, Wanted

_BY_ROW = (
    "rank",
    "log_prob",
    "mass",
    "entropy",
    "kl",
    "log_normaliser",
)  # in the order of `Readout`


def site_readout(
    known: Mapping[int, PartState],
    site: SiteRows,
    ids: Int[Tensor, " n_ids"],
    wanted: Wanted,
    parts: VocabParts,
) -> Readout:
    """What was asked for at one site, for the rows of one block.

    Args:
        known: what is known of each part.
        site: the rows.
        ids: the block's target ids.
        wanted: what was asked for.
        parts: parts of the vocabulary.

    Returns:
        The answers, rows first.
    """
    asked = wanted.statistics
    within = {s: parts.within(s).tolist() for s in parts.chosen(wanted.within)}
    sums = (
        {s: joined([_sums(known[p]) for p in members]) for s, members in within.items()}
        if (asked & {"log_prob", "entropy", "kl", "log_normaliser"})
        else {}
    )
    rank, log_prob = {}, {}
    if site.sets is not None and site.best is not None:
        competes = {s: _competes(site.sets, ids, members, parts) for s, members in within.items()}
        if "rank" in asked:
            rank = {
                s: torch.where(competes[s], 1 + _above(known, members, site), NO_RANK)
                for s, members in within.items()
            }
        if "log_prob" in asked:
            log_prob = {
                s: torch.where(
                    competes[s], site.best.double() - log_normaliser(sums[s])[:, None], torch.nan
                ).float()
                for s in within
            }
    return Readout(
        rank=rank,
        log_prob=log_prob,
        mass=_masses(known, parts) if "mass" in asked else {},
        entropy={s: entropy(x).float() for s, x in sums.items()} if "entropy" in asked else {},
        kl={s: divergence(x).float() for s, x in sums.items()} if "kl" in asked else {},
        log_normaliser=(
            {s: log_normaliser(x).float() for s, x in sums.items()}
            if "log_normaliser" in asked
            else {}
        ),
        top_k={s: _top(known, m, wanted.k) for s, m in within.items()} if "top_k" in asked else {},
    )


def together(pieces: Sequence[tuple[Tensor, Readout]], shape: tuple[int, ...]) -> Readout:
    """The answers of all blocks, in order.

    Args:
        pieces: places among all rows, and what was read there.
        shape: axes of all rows.

    Returns:
        The answers for all rows.
    """
    order = torch.cat([places for places, _ in pieces]).argsort()

    def gather(tensors: list[Tensor]) -> Tensor:
        whole = torch.cat(tensors)[order.to(tensors[0].device)]
        return whole.view(*shape, *whole.shape[1:])

    def by_name(field: str) -> dict[str, Tensor]:
        first: Mapping[str, Tensor] = getattr(pieces[0][1], field)
        return {name: gather([getattr(r, field)[name] for _, r in pieces]) for name in first}

    top = {
        s: TopK(
            gather([r.top_k[s].ids for _, r in pieces]),
            gather([r.top_k[s].logits for _, r in pieces]),
        )
        for s in pieces[0][1].top_k
    }
    return Readout(*(by_name(f) for f in _BY_ROW), top_k=top)


def stacked(readouts: Sequence[Readout]) -> Readout:
    """Readouts of several layers as one.

    Args:
        readouts: of each layer, all asked for the same.

    Returns:
        The answers, with the layer as the first axis.
    """

    def by_name(field: str) -> dict[str, Tensor]:
        first: Mapping[str, Tensor] = getattr(readouts[0], field)
        return {name: torch.stack([getattr(r, field)[name] for r in readouts]) for name in first}

    top = {
        s: TopK(
            torch.stack([r.top_k[s].ids for r in readouts]),
            torch.stack([r.top_k[s].logits for r in readouts]),
        )
        for s in readouts[0].top_k
    }
    return Readout(
        *(by_name(f) for f in _BY_ROW),
        top_k=top,
        kernel=readouts[0].kernel,
        product_dtype=" and ".join(sorted({r.product_dtype for r in readouts})),
    )


def _sums(state: PartState) -> Sums:
    assert state.sums is not None
    return state.sums


def _above(
    known: Mapping[int, PartState], members: list[int], site: SiteRows
) -> Int[Tensor, "n_rows n_sets"]:
    """Logits above each set's best token, in the order of the sets."""
    counts = [known[p].above for p in members]
    above = torch.stack([c for c in counts if c is not None]).sum(0)
    assert site.order is not None
    return torch.empty_like(above).scatter_(1, site.order, above)


def _competes(
    sets: Int[Tensor, "n_rows_or_1 n_sets n_tokens"],
    ids: Int[Tensor, " n_ids"],
    members: list[int],
    parts: VocabParts,
) -> Bool[Tensor, "n_rows_or_1 n_sets"]:
    """Whether a set has tokens, and all of them are of these parts."""
    real = sets != NO_TARGET
    part_of = parts.part_of.to(ids.device)[ids]
    is_member = torch.isin(part_of, torch.tensor(members, device=ids.device))
    is_member = torch.cat([is_member, is_member.new_ones(1)])  # the last place: what fills sets
    return is_member[sets].all(-1) & real.any(-1)


def _masses(known: Mapping[int, PartState], parts: VocabParts) -> dict[str, Tensor]:
    each = [log_normaliser(_sums(known[p])) for p in range(len(parts.names))]
    whole = torch.stack(each).logsumexp(0)
    return {name: (x - whole).exp().float() for name, x in zip(parts.names, each, strict=True)}


def _top(known: Mapping[int, PartState], members: list[int], k: int) -> TopK:
    found = [known[p].keys for p in members]
    keys = torch.cat([x for x in found if x is not None], dim=1)
    n_rows, n_known = keys.shape
    best = keys.topk(min(k, n_known), dim=1).values
    if n_known < k:
        best = torch.cat([best, no_keys(n_rows, k - n_known, keys.device)], dim=1)
    logits, ids = unpack(best)
    return TopK(ids, logits)
