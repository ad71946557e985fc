"""Blocks of rows through the vocabulary on a GPU: a large product, then one look at its logits.

1. Tiles are runs of ids of the whole vocabulary, all of one width (the last one begins early enough
   for that), so every product of a block has one shape and is rounded in one way. No weights are
   copied.
2. The targets' rows of the unembedding, filled up to the same width, are multiplied first: that
   gives the logits that others are compared with (one product more; no second pass).
3. Each tile is multiplied by the library's product, which takes any transform after it. For each
   part and site one kernel makes all statistics from the float32 logits in one reading, another one
   the highest tokens (`_triton`). Nothing waits for the GPU in between.
4. What was found in the pieces of a part is put together in float64; each target's logit in its
   tile is compared with what was assumed, and where they differ the block is read again.

Why not within the product: a word's logits are pooled over rows before anything is read, a model
may transform logits, and the library's products are tuned for each GPU. At a width of 3584 the
product is 7168 operations a logit; writing and reading it are 8 bytes, about a quarter of that time
on an H100 by its data sheet.
"""

import contextlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from slm_lens.readout import _triton
from slm_lens.readout._block import Block, Needs, PartState, SiteRows
from slm_lens.readout._softmax import Sums, joined_pieces
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.unembedding import Unembedding, UnembeddingRows

_N_SUMS = len(Sums._fields)


@dataclass(frozen=True, eq=False)
class Piece:
    """The tokens of one part in one tile.

    Attributes:
        part: which part.
        ids: its tokens here, on the device.
        first: the first of them.
        is_range: whether they follow one another.
        tile: which of the part's tiles this is.
        first_block: blocks of columns of the part in the tiles before.
    """

    part: int
    ids: Int[Tensor, " n"]
    first: int
    is_range: bool
    tile: int
    first_block: int

    @property
    def n_blocks(self) -> int:
        """Blocks of columns."""
        return -(-len(self.ids) // _triton.BLOCK)


@dataclass(frozen=True, eq=False)
class Tile:
    """Tokens ``first`` to ``end`` of the vocabulary, of which those before ``new`` were read."""

    first: int
    new: int
    end: int
    pieces: list[Piece]


class Rows:
    """One part of the vocabulary, as one site of a block sees it, on its way through the tiles."""

    def __init__(self, block: Block, site: SiteRows, needs: Needs, pieces: Sequence[Piece]) -> None:
        device = block.states.device
        spans = site.spans
        if site.site == "position":
            spans = [(i, i + 1) for i in range(len(block.states))]
        elif site.site == "last":
            spans = [(end - 1, end) for _, end in spans]
        self.spans = torch.tensor(spans, dtype=torch.int64).view(-1, 2).T.contiguous().to(device)
        self.needs, self.thresholds = needs, site.rising if needs.above else None
        n_rows, n_blocks = len(spans), sum(p.n_blocks for p in pieces)
        n_thresholds = 0 if self.thresholds is None else self.thresholds.shape[1]
        n_sums = _N_SUMS * needs.sums
        self.above = torch.zeros(n_rows, n_thresholds, dtype=torch.int32, device=device)
        self.sums = torch.zeros(n_sums, n_rows, n_blocks, device=device)
        n_keys = needs.top * len(pieces)
        self.keys = torch.empty(n_rows, n_keys, dtype=torch.int64, device=device)

    def take(self, logits: Tensor, final: Tensor | None, tile: Tile, piece: Piece) -> None:
        """Add what one tile says.

        Args:
            logits: of the tile.
            final: of the final layer; None if not wanted.
            tile: which one.
            piece: the part's tokens in it.
        """
        starts, ends = self.spans
        if not len(starts):
            return
        needs, n_columns = self.needs, len(piece.ids)
        n_groups = -(-n_columns // _triton.GROUP) if needs.top else 0
        maxima = logits.new_empty(len(starts), n_groups)
        place = {
            "width": logits.stride(0),
            "first_column": piece.first - tile.first if piece.is_range else 0,
            "tile_start": tile.first,
            "n_columns": n_columns,
            "n_groups": n_groups,
            "IS_RANGE": piece.is_range,
            "GROUP": _triton.GROUP,
            "num_warps": 1,
            "enable_fp_fusion": True,
        }
        _triton.statistics[(len(starts), piece.n_blocks)](
            logits,
            logits if final is None else final,
            starts,
            ends,
            piece.ids,
            logits if self.thresholds is None else self.thresholds,
            self.above,
            self.sums,
            maxima,
            n_final=1 if final is None else len(final),
            n_thresholds=self.above.shape[1],
            n_blocks=self.sums.shape[2],
            first_block=piece.first_block,
            SUMS=needs.sums,
            CROSS=needs.cross,
            TOP=needs.top > 0,
            BLOCK=_triton.BLOCK,
            **place,
        )
        if needs.top:
            _triton.highest[(len(starts),)](
                logits,
                starts,
                ends,
                piece.ids,
                maxima,
                self.keys,
                n_keys=self.keys.shape[1],
                first_key=piece.tile * needs.top,
                k=needs.top,
                GROUPS=1 << (n_groups - 1).bit_length(),
                **place,
            )

    def known(self) -> PartState:
        """What is known after the last tile."""
        needs = self.needs
        sums = None
        if needs.sums:
            max, total, weighted, final_max, final_total, cross = self.sums
            sums = joined_pieces(
                Sums(
                    max,
                    total.double(),
                    weighted.double(),
                    final_max,
                    final_total.double(),
                    cross.double(),
                )
            )
        return PartState(
            self.above.long() if needs.above else None,
            sums,
            self.keys.topk(needs.top, dim=1).values if needs.top else None,
        )


def take_targets(block: Block, unembedding: Unembedding, columns: int) -> None:
    """Take the targets' logits from products of the shape that tiles have.

    Args:
        block: the rows; changed.
        unembedding: what they are multiplied with.
        columns: tokens in a tile.
    """
    columns = min(columns, unembedding.d_vocab)
    found = []
    for ids in block.ids.split(columns):
        rows = unembedding.rows(functional.pad(ids, (0, columns - len(ids))), block.states.dtype)
        weight = rows.weight
        if unembedding.weight.stride(0) == 1:  # stored the other way round: so are tiles
            weight = weight.T.contiguous().T
        rows = UnembeddingRows(weight, rows.bias, rows.transform)
        found.append(rows.logits(block.states)[:, : len(ids)])
    if found:
        block.target_logits = torch.cat(found, dim=1)
        for site in block.sites:
            site.find_best(block.target_logits)


def all_tiles(
    blocks: Sequence[Block], unembedding: Unembedding, parts: VocabParts, columns: int
) -> list[dict[int, list[PartState]]]:
    """What all tiles say of each block.

    Args:
        blocks: the rows; of those whose targets have another logit in their tile, these logits are
            taken and `Block.is_exact` becomes False.
        unembedding: what they are multiplied with.
        parts: parts of the vocabulary.
        columns: tokens in a tile.

    Returns:
        What is known of each block, by part and site.
    """
    with _on(unembedding.weight.device):
        wanted = sorted({p for block in blocks for site in block.sites for p in site.needs})
        tiles = list(_tiles(parts, wanted, columns, unembedding.weight.device))
        return [_through(block, tiles, unembedding, wanted) for block in blocks]


def _through(
    block: Block, tiles: Sequence[Tile], unembedding: Unembedding, wanted: Sequence[int]
) -> dict[int, list[PartState]]:
    """One block through all tiles."""
    pieces = {p: [x for t in tiles for x in t.pieces if x.part == p] for p in wanted}
    rows = {
        p: [
            Rows(block, site, site.needs[p], pieces[p]) if p in site.needs else None
            for site in block.sites
        ]
        for p in wanted
    }
    own, ids = block.target_logits.clone(), block.ids.tolist()
    width = max(t.end - t.first for t in tiles)
    memory = torch.empty(len(block.states), width, device=block.states.device)
    for tile in tiles:
        weights = unembedding.rows(slice(tile.first, tile.end), block.states.dtype)
        logits = _row_by_row(weights.logits(block.states, out=memory))
        first, end = bisect_left(ids, tile.new), bisect_left(ids, tile.end)
        own[:, first:end] = logits[:, block.ids[first:end] - tile.first]
        here = [(r, x) for x in tile.pieces for r in rows[x.part] if r is not None]
        final = None
        if block.final is not None and any(r.needs.cross for r, _ in here):
            final = _row_by_row(weights.logits(block.final))
        for r, piece in here:
            r.take(logits, final, tile, piece)
    if not torch.equal(own, block.target_logits):
        block.target_logits, block.is_exact = own, False
    nothing = PartState(None, None, None)
    return {p: [nothing if r is None else r.known() for r in rows[p]] for p in wanted}


def _row_by_row(logits: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """The same, as the kernels read them; a transform may have turned them round."""
    return logits if logits.stride(1) == 1 else logits.contiguous()


def _tiles(
    parts: VocabParts, wanted: Sequence[int], columns: int, device: torch.device
) -> Iterator[Tile]:
    """Tiles that hold tokens of the wanted parts."""
    columns = min(columns, parts.d_vocab)
    ids_of = {p: parts.ids(parts.names[p]) for p in wanted}
    there = {p: ids.int().to(device) for p, ids in ids_of.items()}
    n_tiles, n_blocks = dict.fromkeys(wanted, 0), dict.fromkeys(wanted, 0)
    for new in range(0, parts.d_vocab, columns):
        end = min(new + columns, parts.d_vocab)
        pieces = []
        for p, ids in ids_of.items():
            low, high = torch.searchsorted(ids, torch.tensor([new, end])).tolist()
            if low == high:
                continue
            first, is_range = int(ids[low]), int(ids[high - 1] - ids[low]) == high - low - 1
            piece = Piece(p, there[p][low:high], first, is_range, n_tiles[p], n_blocks[p])
            n_tiles[p] += 1
            n_blocks[p] += piece.n_blocks
            pieces.append(piece)
        if pieces:
            yield Tile(end - columns, new, end, pieces)


def _on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Kernels start on the current GPU, whatever their tensors are on."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
