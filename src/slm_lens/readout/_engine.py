"""Blocks of rows through the tiles of the vocabulary.

On a CPU every core takes every n-th tile for all blocks, with one thread of its own, so that a tile
of logits stays in that core's cache while it is looked at; what the cores found is put together at
the end. Elsewhere the tiles come one after the other. With the kernel "triton" it is `_cuda` that
goes through the tiles.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import torch
from torch import Tensor

from slm_lens.readout._block import Block, PartState, combine
from slm_lens.readout._device import Kernel
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.unembedding import Unembedding, tiles_of

Known = list[dict[int, list[PartState]]]
"""What is known: by block, part and site."""


def run_blocks(
    blocks: Sequence[Block],
    unembedding: Unembedding,
    parts: VocabParts,
    columns: int,
    kernel: Kernel = "tiled",
) -> Known:
    """Read blocks, without gradients.

    Args:
        blocks: the rows.
        unembedding: what they are multiplied with.
        parts: parts of the vocabulary.
        columns: tokens in a tile.
        kernel: what makes the statistics of a tile.

    Returns:
        What is known of each block, once every target was compared by its own tile's logit.
    """
    all_tiles = _all_tiles
    with torch.no_grad():
        if kernel == "triton":
            from slm_lens.readout import _cuda

            all_tiles = _cuda.all_tiles
            for block in blocks:
                _cuda.take_targets(block, unembedding, columns)
        known = all_tiles(blocks, unembedding, parts, columns)
        rounded = [i for i, block in enumerate(blocks) if not block.is_exact]
        if rounded:  # now the targets' logits are those of their tiles: once more with them
            for i in rounded:
                for site in blocks[i].sites:
                    site.find_best(blocks[i].target_logits)
            again = all_tiles([blocks[i] for i in rounded], unembedding, parts, columns)
            for i, known_now in zip(rounded, again, strict=True):
                known[i] = known_now
    return known


def _all_tiles(
    blocks: Sequence[Block], unembedding: Unembedding, parts: VocabParts, columns: int
) -> Known:
    wanted = sorted({p for block in blocks for site in block.sites for p in site.needs})
    tiles = [(p, t) for p in wanted for t in tiles_of(parts.ids(parts.names[p]), columns)]
    threads = torch.get_num_threads()
    n_workers = min(threads, len(tiles)) if unembedding.weight.device.type == "cpu" else 1
    if n_workers <= 1:
        return _some_tiles(blocks, unembedding, wanted, tiles, columns)
    try:
        with ThreadPoolExecutor(
            n_workers, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            found = pool.map(
                lambda w: _some_tiles(blocks, unembedding, wanted, tiles[w::n_workers], columns),
                range(n_workers),
            )
            return reduce(_combine, found)
    finally:
        torch.set_num_threads(threads)  # that of this thread never changed; of new ones it did


def _some_tiles(
    blocks: Sequence[Block],
    unembedding: Unembedding,
    wanted: list[int],
    tiles: Sequence[tuple[int, Tensor | slice]],
    columns: int,
) -> Known:
    device = unembedding.weight.device
    size = max(len(block.states) for block in blocks) * columns
    one, two, three = (torch.empty(size, device=device) for _ in range(3))
    known: Known = [{p: block.start(p) for p in wanted} for block in blocks]
    with torch.no_grad():  # a thread of its own does not take it over
        for part, tile in tiles:
            ids = (
                torch.arange(tile.start, tile.stop, device=device)
                if isinstance(tile, slice)
                else tile.to(device)
            )
            rows = {
                dtype: unembedding.rows(tile, dtype) for dtype in {b.states.dtype for b in blocks}
            }
            for block, state in zip(blocks, known, strict=True):
                block.take(state[part], part, rows[block.states.dtype], ids, (one, two, three))
    return known


def _combine(one: Known, other: Known) -> Known:
    return [
        {p: [combine(x, y) for x, y in zip(a[p], b[p], strict=True)] for p in a}
        for a, b in zip(one, other, strict=True)
    ]
