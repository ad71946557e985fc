"""States as layers by positions, and the blocks that they are read in."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.readout._block import Site
from slm_lens.readout.pooling import check_spans
from slm_lens.readout.wanted import Wanted

CHUNK_BYTES = 32 * 2**20
"""Bytes of normed states that exist at a time."""


@dataclass(frozen=True, eq=False)
class Grid:
    """States as layers (or whatever leads) by positions; words are spans of positions."""

    states: Float[Tensor, "lead pos d_model"]
    final: Float[Tensor, "pos d_model"] | None
    spans: Int[Tensor, "n_words 2"] | None
    shape: tuple[int, ...]

    def rows(self, site: Site) -> int:
        """Rows of each lead at a site."""
        if site == "position":
            return self.states.shape[1]
        assert self.spans is not None
        return len(self.spans)

    def shape_at(self, site: Site) -> tuple[int, ...]:
        """Shape of what is read at a site."""
        return self.shape if site == "position" else (*self.shape[:-1], self.rows(site))


def as_grid(
    states: Float[Tensor, "*rows d_model"],
    final: Float[Tensor, "*positions d_model"] | None,
    spans: Int[Tensor, "n_words 2"] | None,
    wanted: Mapping[Site, Wanted],
) -> Grid:
    shape, d_model = states.shape[:-1], states.shape[-1]
    if states.ndim < 2 or not states.numel() or not wanted:
        raise ValueError(
            f"readout: got states of shape {tuple(states.shape)} and {len(wanted)} sites, expected "
            "at least one row of states, and something to read."
        )
    if spans is not None and not len(spans):
        raise ValueError("readout: got no spans, expected at least one word.")
    if (spans is None) == bool(wanted.keys() & {"max", "last"}):
        raise ValueError(
            f"readout: got {'no spans' if spans is None else 'spans'} and sites {list(wanted)}, "
            "expected spans of positions where words are to be read, and only there."
        )
    of_final = any("kl" in w.statistics for w in wanted.values())
    if of_final != (final is not None):
        raise ValueError(
            f"readout: got {'no ' if final is None else ''}final states, expected them where 'kl' "
            "is wanted, and only there. 'kl' is read at positions: LogitLens.readout(final=...)."
        )
    if final is not None and final.ndim < 2:
        raise ValueError(
            f"readout: got final states of shape {tuple(final.shape)}, expected "
            "[*positions, d_model]; of one position: final[None], and states[:, None]."
        )
    n_trailing = 0 if spans is None else 1
    if final is not None:
        n_trailing = n_trailing or final.ndim - 1
        fits = final.ndim - 1 == n_trailing and states.shape[-final.ndim :] == final.shape
        if not fits:
            raise ValueError(
                f"readout: got final states of shape {tuple(final.shape)} for states of shape "
                f"{tuple(states.shape)}, expected the last axes of states"
                + (" (positions and d_model, where words are read)." if spans is not None else ".")
            )
    n_pos = math.prod(shape[len(shape) - n_trailing :]) if n_trailing else states[..., 0].numel()
    if spans is not None:
        check_spans(spans, n_pos, "readout")
        if (spans[1:, 0] < spans[:-1, 1]).any():
            raise ValueError(
                "readout: got spans that overlap or run backwards, expected words in the order of "
                "their positions. Read them one after the other."
            )
    return Grid(
        states.reshape(-1, n_pos, d_model),
        None if final is None else final.reshape(n_pos, d_model),
        None if spans is None else spans.cpu(),
        tuple(shape),
    )


@dataclass(frozen=True)
class Cell:
    """Leads and positions of one block; with words, those that lie within."""

    leads: range
    positions: range
    words: range

    def places(self, grid: Grid, site: Site) -> Int[Tensor, " n_rows"]:
        """Where its rows stand among all rows of a site."""
        rows = self.positions if site == "position" else self.words
        lead = torch.tensor(list(self.leads))[:, None] * grid.rows(site)
        return (lead + torch.tensor(list(rows), dtype=torch.int64)).flatten()

    @property
    def n_rows(self) -> int:
        """Rows of states."""
        return len(self.leads) * len(self.positions)


def chunks(grid: Grid, rows: int, *, words_only: bool) -> Iterator[list[Cell]]:
    """Blocks, as many at a time as may be held."""
    limit = CHUNK_BYTES // (4 * grid.states.shape[2])
    held: list[Cell] = []
    for cell in _cells(grid, rows, words_only=words_only):
        if held and sum(c.n_rows for c in held) + cell.n_rows > limit:
            yield held
            held = []
        held.append(cell)
    yield held


def _cells(grid: Grid, rows: int, *, words_only: bool) -> Iterator[Cell]:
    """All blocks: positions in runs that cut no word, as many leads with them as fit."""
    n_leads = len(grid.states)
    for positions, words in _runs(grid, rows):
        if words_only and not words:
            continue
        step = max(1, rows // len(positions))
        for first in range(0, n_leads, step):
            yield Cell(range(first, min(first + step, n_leads)), positions, words)


def _runs(grid: Grid, rows: int) -> Iterator[tuple[range, range]]:
    n_pos = grid.states.shape[1]
    spans = [] if grid.spans is None else grid.spans.tolist()
    first, word = 0, 0
    while first < n_pos:
        end, last = min(first + rows, n_pos), word
        while last < len(spans) and spans[last][1] <= end:
            last += 1
        if last < len(spans) and spans[last][0] < end:  # it would be cut: before it, or all of it
            end = spans[last][0] if spans[last][0] > first else spans[last][1]
            last += int(end == spans[last][1])
        yield range(first, end), range(word, last)
        first, word = end, last


def spans_of(grid: Grid, cell: Cell) -> list[tuple[int, int]]:
    """Positions of the words among the rows of a block, for every lead."""
    assert grid.spans is not None
    own = grid.spans[cell.words.start : cell.words.stop].tolist()
    width, first = len(cell.positions), cell.positions.start
    return [
        (lead * width + start - first, lead * width + end - first)
        for lead in range(len(cell.leads))
        for start, end in own
    ]
