"""Two Triton kernels that read a tile of float32 logits: its statistics, and its highest tokens.

A row of a site is a half-open run of the tile's rows, pooled by their maximum: one row at a
position or at a word's last one, all rows of a word for ``"max"``. One warp takes one such row and
`BLOCK` columns of one part of the vocabulary, and holds their logits in registers:

1. how many are above each threshold of the row: compared one by one, added up by atomic additions
   of whole numbers, so their order does not matter;
2. their maximum ``m``, ``sum exp(z - m)``, ``sum exp(z - m) (z - m)``, and with the final logits
   the terms of the divergence: float32, one entry for each (row, block), added in float64 later;
3. the maximum of each `GROUP` columns.

Then one warp a row finds the highest tokens in the tile exactly: ``k`` times it takes the group
with the highest maximum, reads its `GROUP` logits again, takes the highest that was not taken yet,
and notes the maximum of the rest. Keys are those of `_top.pack`, so ties fall as they do there.

Importing this imports triton, so only `_cuda` and the tests do, when they need it.
"""

import inspect
from collections.abc import Callable
from typing import Any

import triton  # pyright: ignore[reportMissingImports] (comes with torch for CUDA)
import triton.language as tl  # pyright: ignore[reportMissingImports]

BLOCK = 1024
GROUP = 64

# Whether a number is divisible by 16 makes another kernel, which matters where four logits are read
# at a time (`width`, `first_column`, `n_columns`). Of these numbers it would make dozens.
_ANY = ["tile_start", "n_thresholds", "n_blocks", "first_block", "n_groups", "n_final"]
_ANY_TOP = ["tile_start", "n_groups", "n_keys", "first_key", "k"]

_EMPTY = tl.constexpr(-(2**63))
_LOW = tl.constexpr(0x7FFFFFFF)


def _compiled(*any_number: str) -> Callable[[Callable[..., None]], Any]:
    """A kernel; those who check shapes wrap every function, which the compiler cannot read."""
    return lambda f: triton.jit(inspect.unwrap(f), do_not_specialize=any_number)


@_compiled()
def _columns(ids, first_column, tile_start, here, is_in, IS_RANGE: tl.constexpr):
    """Columns of the tile that hold the tokens in some places of a part."""
    if IS_RANGE:
        columns = first_column + here
    else:
        columns = tl.load(ids + here, mask=is_in, other=0) - tile_start
    return columns


@_compiled()
def _pooled(logits, start, end, width, columns, is_in):
    """Maximum over the rows of a run."""
    z = tl.load(logits + start * width + columns, mask=is_in, other=-float("inf"))
    for row in range(start + 1, end):
        more = tl.load(logits + row * width + columns, mask=is_in, other=-float("inf"))
        z = tl.maximum(z, more)
    return z


@_compiled()
def _keys(z, ids):
    """`_top.pack`: whole numbers that grow with the logit and fall with the id."""
    bits = tl.where(z == 0.0, 0.0, z).to(tl.int32, bitcast=True)  # -0.0 becomes 0.0
    rising = tl.where(bits < 0, bits ^ _LOW, bits).to(tl.int64)
    return (rising << 32) | (ids ^ _LOW).to(tl.int64)  # _LOW - ids


@_compiled(*_ANY)
def statistics(
    logits,  # [n, width] float32
    final,  # [n_final, width] float32; any tensor without CROSS
    starts,  # [n_rows] int64
    ends,  # [n_rows] int64
    ids,  # [n_columns] int32, rising; any tensor with IS_RANGE
    thresholds,  # [n_rows, n_thresholds] float32; any tensor without any
    above,  # [n_rows, n_thresholds] int32: added to
    sums,  # [fields of Sums, n_rows, n_blocks] float32
    maxima,  # [n_rows, n_groups] float32
    width,
    n_final,
    first_column,
    tile_start,
    n_columns,
    n_thresholds,
    n_blocks,
    first_block,
    n_groups,
    IS_RANGE: tl.constexpr,
    SUMS: tl.constexpr,
    CROSS: tl.constexpr,
    TOP: tl.constexpr,
    BLOCK: tl.constexpr,
    GROUP: tl.constexpr,
):
    """What stands above, for one row of a site and one block of columns of a part."""
    row = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    here = block * BLOCK + tl.arange(0, BLOCK)
    is_in = here < n_columns
    columns = _columns(ids, first_column, tile_start, here, is_in, IS_RANGE)
    start = tl.load(starts + row)
    z = _pooled(logits, start, tl.load(ends + row), width, columns, is_in)
    for t in range(n_thresholds):
        threshold = tl.load(thresholds + row * n_thresholds + t)
        count = tl.sum((z > threshold).to(tl.int32), 0)
        tl.atomic_add(above + row * n_thresholds + t, count, sem="relaxed")
    if SUMS:
        top = tl.max(z, 0)
        shifted = tl.where(is_in, z - top, 0.0)
        exponentials = tl.where(is_in, tl.exp(shifted), 0.0)
        field = tl.num_programs(0).to(tl.int64) * n_blocks
        place = sums + row * n_blocks + first_block + block
        tl.store(place, top)
        tl.store(place + field, tl.sum(exponentials, 0))
        tl.store(place + 2 * field, tl.sum(exponentials * shifted, 0))
        if CROSS:
            of_final = final + (start % n_final) * width + columns
            last = tl.load(of_final, mask=is_in, other=-float("inf"))
            final_top = tl.max(last, 0)
            weights = tl.where(is_in, tl.exp(tl.where(is_in, last - final_top, 0.0)), 0.0)
            gap = tl.where(is_in, last, 0.0) - tl.where(is_in, z, 0.0)
            tl.store(place + 3 * field, final_top)
            tl.store(place + 4 * field, tl.sum(weights, 0))
            tl.store(place + 5 * field, tl.sum(weights * gap, 0))
    if TOP:
        best = tl.max(tl.reshape(z, (BLOCK // GROUP, GROUP)), 1)
        group = block * (BLOCK // GROUP) + tl.arange(0, BLOCK // GROUP)
        tl.store(maxima + row * n_groups + group, best, mask=group < n_groups)


@_compiled(*_ANY_TOP)
def highest(
    logits,  # [n, width] float32
    starts,  # [n_rows] int64
    ends,  # [n_rows] int64
    ids,  # [n_columns] int32, rising; any tensor with IS_RANGE
    maxima,  # [n_rows, n_groups] float32
    keys,  # [n_rows, n_keys] int64
    width,
    first_column,
    tile_start,
    n_columns,
    n_groups,
    n_keys,
    first_key,
    k,
    IS_RANGE: tl.constexpr,
    GROUPS: tl.constexpr,  # a power of two, at least n_groups
    GROUP: tl.constexpr,
):
    """The k highest of a tile's columns of a part, for one row of a site."""
    row = tl.program_id(0).to(tl.int64)
    start, end = tl.load(starts + row), tl.load(ends + row)
    group = tl.arange(0, GROUPS)
    there = group < n_groups
    known = tl.load(maxima + row * n_groups + group, mask=there, other=-float("inf"))
    best = tl.where(there, _keys(known, group), _EMPTY)
    last = tl.max(tl.where(there, 2**63 - 1, _EMPTY).to(tl.int64), 0)  # above every key
    for i in range(k):
        chosen = (tl.max(best, 0) & _LOW) ^ _LOW
        here = chosen * GROUP + tl.arange(0, GROUP)
        is_in = here < n_columns
        columns = _columns(ids, first_column, tile_start, here, is_in, IS_RANGE)
        z = _pooled(logits, start, end, width, columns, is_in)
        own = tl.where(is_in, _keys(z, columns + tile_start), _EMPTY)
        last = tl.max(tl.where(own < last, own, _EMPTY), 0)
        tl.store(keys + row * n_keys + first_key + i, last)
        # What is left of the group, as a key of the group.
        left = is_in & (own < last)
        rest = tl.max(tl.where(left, _keys(z, tl.zeros_like(here) + chosen), _EMPTY), 0)
        best = tl.where(group == chosen, rest, best)
