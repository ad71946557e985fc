"""Sums of the softmax with gradients: each tile's logits are computed again on the way back."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from slm_lens.readout._block import Block, PartState, SiteRows
from slm_lens.readout._engine import Known, run_blocks
from slm_lens.readout._softmax import Sums, joined, sums_of
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.unembedding import Unembedding, UnembeddingRows, tiles_of


def with_gradients(
    blocks: Sequence[Block], unembedding: Unembedding, parts: VocabParts, columns: int
) -> Known:
    """Read blocks, with gradients where there are any.

    Args:
        blocks: the rows.
        unembedding: what they are multiplied with.
        parts: parts of the vocabulary.
        columns: tokens in a tile.

    Returns:
        What is known of each block.
    """
    searched = [_without_sums(block) for block in blocks]
    known = run_blocks(searched, unembedding, parts, columns)
    for block, other, states_of in zip(blocks, searched, known, strict=True):
        for site, counted in zip(block.sites, other.sites, strict=True):
            site.order = counted.order  # that of the logits which others were compared with
        _add_sums(block, states_of, unembedding, parts, columns)
    return known


def _without_sums(block: Block) -> Block:
    """A block without gradients, for what has none: ranks and the highest tokens."""
    sites = []
    for site in block.sites:
        needs = {
            p: n._replace(sums=False, weighted=False, cross=False)
            for p, n in site.needs.items()
            if n.above or n.top
        }
        sites.append(SiteRows(site.site, site.spans, site.sets, needs))
    own = replace(
        block,
        states=block.states.detach(),
        final=None,
        sites=sites,
        target_logits=block.target_logits.detach().clone(),
    )
    for site in sites:
        site.find_best(own.target_logits)
    return own


def _add_sums(
    block: Block,
    known: dict[int, list[PartState]],
    unembedding: Unembedding,
    parts: VocabParts,
    columns: int,
) -> None:
    """Add the sums that a block needs, with gradients."""
    for part in sorted({p for site in block.sites for p, n in site.needs.items() if n.sums}):
        states = known.setdefault(part, [PartState(None, None, None) for _ in block.sites])
        for tile in tiles_of(parts.ids(parts.names[part]), columns):
            found = checkpoint(
                _tile_sums,
                block.states,
                block.final,
                block,
                part,
                unembedding.rows(tile),
                use_reentrant=False,
            )
            assert isinstance(found, list)
            for state, sums in zip(states, found, strict=True):
                if sums is not None:
                    state.sums = sums if state.sums is None else joined([state.sums, sums])


def _tile_sums(
    rows: Tensor, final: Tensor | None, block: Block, part: int, tile: UnembeddingRows
) -> list[Sums | None]:
    """Sums of a tile at each site; None where none are needed."""
    logits = tile.logits(rows)
    found: list[Sums | None] = []
    for site in block.sites:
        needs = site.needs.get(part)
        if needs is None or not needs.sums:
            found.append(None)
            continue
        last = tile.logits(final) if needs.cross and final is not None else None
        found.append(sums_of(site.pooled(logits), last, weighted=needs.weighted))
    return found
