"""One pass over the vocabulary, whatever is to be read.

For states ``h`` that are ready to be unembedded, ``z = W_U h + b``, and from ``z`` ranks, log-
probabilities, modality mass, entropy, divergence from the final layer, and the highest tokens, at
positions and for words pooled over their positions. ``z`` exists only for a few rows and a few
thousand tokens at a time; how many, and what makes the statistics of them, is chosen by the device
(`_device`).

Exact in this sense: every logit is one product with float32 sums, a target's logit is the one of
its own tile, so ranks, hits and the highest tokens are those of the materialised logits in the same
dtype. Products are rounded by a few units in the last place, so against float64 ranks differ where
two logits are nearer than that.

Source: ours. Pooling, as reported second hand of Sternberg et al. 2026, arXiv:2606.22473.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.readout._block import Block, Needs, Site, SiteRows
from slm_lens.readout._device import Kernel, kernel_for, require_triton, tile_size
from slm_lens.readout._differentiable import with_gradients
from slm_lens.readout._engine import run_blocks
from slm_lens.readout._grid import Cell, Grid, as_grid, chunks, spans_of
from slm_lens.readout._result import site_readout, together
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.unembedding import Unembedding
from slm_lens.readout.wanted import NO_TARGET, Readout, Wanted


def read_out(
    states: Float[Tensor, "*rows d_model"],
    unembedding: Unembedding,
    parts: VocabParts,
    wanted: Mapping[Site, Wanted],
    *,
    normalise: Callable[[Tensor], Tensor] | None = None,
    spans: Int[Tensor, "n_words 2"] | None = None,
    final: Float[Tensor, "*positions d_model"] | None = None,
    differentiable: bool = False,
    rows: int | None = None,
    tile_columns: int | None = None,
    kernel: Kernel | None = None,
) -> dict[Site, Readout]:
    """Read states over the vocabulary.

    Args:
        states: vectors, e.g. of all layers and positions.
        unembedding: what they are multiplied with.
        parts: parts of its vocabulary.
        wanted: what is wanted at each ``"position"``; and of words, of the ``"max"`` of the logits
            over their positions, or at their ``"last"`` one.
        normalise: makes states ready to be unembedded (the final norm), some rows at a time; None
            if they are.
        spans: half-open positions of each word, along the last axis of rows.
        final: the states of the last layer, for ``"kl"``: as `states` without its leading axes.
        differentiable: let gradients flow from log-probabilities, masses, entropies and
            divergences to the states. Logits are then computed again in the backward pass.
        rows: rows of logits that a thread holds at a time (more for a word of more positions); None
            for those of `tile_size`.
        tile_columns: tokens whose logits it holds at a time; None likewise.
        kernel: what makes the statistics of a tile; None for `kernel_for` the device. Gradients
            always take "tiled".

    Returns:
        What was read, by site; the axes are those of `states` without the last, and at words the
        last one counts words.

    Raises:
        ValueError: there are no states, or they are not finite; a shape or span does not fit, or a
            target lies outside the vocabulary.
        ImportError: ``kernel="triton"`` without triton.
    """  # noqa: DOC502 (some raised by the functions it calls)
    if not differentiable:
        states, final = states.detach(), None if final is None else final.detach()
    grid = as_grid(states, final, spans, wanted)
    if unembedding.d_vocab != parts.d_vocab:
        raise ValueError(
            f"readout: got an unembedding of {unembedding.d_vocab} rows and parts of a vocabulary "
            f"of {parts.d_vocab}, expected the same."
        )
    if kernel == "triton":
        require_triton()
    size = tile_size(unembedding.weight.device)
    rows, tile_columns = rows or size.rows, tile_columns or size.columns
    kernel = "tiled" if differentiable else kernel or kernel_for(unembedding.weight.device)
    sets: dict[Site, Tensor | None] = {
        site: _sets(w, grid, site, unembedding) for site, w in wanted.items()
    }
    needs: dict[Site, dict[int, Needs]] = {site: _needs(w, parts) for site, w in wanted.items()}
    found: dict[Site, list[tuple[Tensor, Readout]]] = {site: [] for site in wanted}
    dtypes = set()
    for chunk in chunks(grid, rows, words_only="position" not in wanted):
        with torch.set_grad_enabled(differentiable):
            blocks = [_block(grid, c, sets, needs, unembedding, normalise) for c in chunk]
        if differentiable:
            known = with_gradients(blocks, unembedding, parts, tile_columns)
        else:
            known = run_blocks(blocks, unembedding, parts, tile_columns, kernel)
        dtypes |= {str(block.states.dtype).removeprefix("torch.") for block in blocks}
        for cell, block, states_of in zip(chunk, blocks, known, strict=True):
            for i, (site, asked) in enumerate(wanted.items()):
                by_part = {p: s[i] for p, s in states_of.items()}
                read = site_readout(by_part, block.sites[i], block.ids, asked, parts)
                found[site].append((cell.places(grid, site), read))
    product_dtype = " and ".join(sorted(dtypes))
    return {
        site: replace(
            together(pieces, grid.shape_at(site)), kernel=kernel, product_dtype=product_dtype
        )
        for site, pieces in found.items()
    }


def _sets(
    wanted: Wanted, grid: Grid, site: Site, unembedding: Unembedding
) -> Int[Tensor, "n_lead_or_1 n_rows_or_1 n_sets n_tokens"] | None:
    """Target sets of every row, the axis of leads first."""
    targets, d_vocab = wanted.targets, unembedding.d_vocab
    if targets is None:
        return None
    lowest = NO_TARGET if site != "position" or targets.ndim > 1 else 0
    outside = targets[(targets < lowest) | (targets >= d_vocab)]
    if outside.numel() or not targets.numel():
        raise ValueError(
            f"readout: got target ids {sorted(set(outside.tolist()))[:8] or 'none'}, expected some "
            f"with 0 <= id < d_vocab={d_vocab}. Do the targets come from this model's vocabulary?"
        )
    targets = targets.to(unembedding.weight.device)
    expected = grid.shape_at(site)
    if site == "position" and targets.ndim == 1:
        return targets.view(1, 1, -1, 1)
    if site == "position" and targets.shape[:-1] == expected:
        return targets.reshape(len(grid.states), -1, targets.shape[-1], 1)
    if site != "position" and targets.ndim == 3 and len(targets) == expected[-1]:
        return targets[None]
    raise ValueError(
        f"readout: got targets of shape {tuple(targets.shape)}, expected "
        + (
            f"[n_targets] or {[*expected, 'n_targets']}."
            if site == "position"
            else f"{[expected[-1], 'n_sets', 'n_tokens']}."
        )
    )


def _needs(wanted: Wanted, parts: VocabParts) -> dict[int, Needs]:
    """What is needed of each part, for all that is wanted."""
    asked = {p for subset in parts.chosen(wanted.within) for p in parts.within(subset).tolist()}
    has = {s: s in wanted.statistics for s in ("rank", "entropy", "kl", "top_k")}
    normalised = bool(wanted.statistics & {"log_prob", "log_normaliser"})
    needs = {
        p: Needs(
            above=has["rank"],
            sums=has["entropy"] or has["kl"] or normalised,
            weighted=has["entropy"],
            cross=has["kl"],
            top=min(wanted.k, len(parts.ids(parts.names[p]))) if has["top_k"] else 0,
        )
        for p in asked
    }
    if "mass" in wanted.statistics:
        nothing = Needs(above=False, sums=False, weighted=False, cross=False, top=0)
        needs = {p: needs.get(p, nothing)._replace(sums=True) for p in range(len(parts.names))}
    return needs


def _block(
    grid: Grid,
    cell: Cell,
    sets: Mapping[Site, Tensor | None],
    needs: Mapping[Site, Mapping[int, Needs]],
    unembedding: Unembedding,
    normalise: Callable[[Tensor], Tensor] | None,
) -> Block:
    ready, device = normalise or (lambda rows: rows.float()), unembedding.weight.device
    lead, pos = (slice(r.start, r.stop) for r in (cell.leads, cell.positions))
    states = ready(grid.states[lead, pos].flatten(0, 1).to(device))
    final = None if grid.final is None else ready(grid.final[pos].to(device))
    if not states.isfinite().all():
        raise ValueError(
            "readout: got states that are not finite, expected numbers (a rank against NaN would "
            "be 1). Did the model overflow? Load it in float32 or bfloat16."
        )
    if not torch.is_grad_enabled():
        states, *rest = unembedding.as_multiplied(states, *([] if final is None else [final]))
        final = rest[0] if rest else None
    own: dict[Site, Tensor | None] = {
        site: None if s is None else _of_cell(s, cell, site) for site, s in sets.items()
    }
    given = [s[s != NO_TARGET] for s in own.values() if s is not None]
    ids = torch.cat(given).unique() if given else torch.zeros(0, dtype=torch.int64)
    ids = ids.to(device)
    sites = [
        SiteRows(
            site,
            [] if site == "position" else spans_of(grid, cell),
            None if s is None else _places(s, ids),
            needs[site],
        )
        for site, s in own.items()
    ]
    block = Block(states, final, ids, sites, unembedding.rows(ids, states.dtype).logits(states))
    for site in sites:
        site.find_best(block.target_logits)
    return block


def _of_cell(
    sets: Int[Tensor, "n_lead_or_1 n_rows_or_1 n_sets n_tokens"], cell: Cell, site: Site
) -> Int[Tensor, "n_own_or_1 n_sets n_tokens"]:
    """Sets of the rows of a block, or the one row that all share."""
    if len(sets) > 1:
        sets = sets[cell.leads.start : cell.leads.stop]
    if sets.shape[1] > 1 or site != "position":
        rows = cell.positions if site == "position" else cell.words
        sets = sets[:, rows.start : rows.stop].expand(len(cell.leads), -1, -1, -1)
    return sets.flatten(0, 1)


def _places(
    sets: Int[Tensor, "n_rows_or_1 n_sets n_tokens"], ids: Int[Tensor, " n_ids"]
) -> Int[Tensor, "n_rows_or_1 n_sets n_tokens"]:
    """Sets of ids as sets of places among them."""
    return torch.searchsorted(ids, sets.contiguous()).masked_fill(sets == NO_TARGET, NO_TARGET)
