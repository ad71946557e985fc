"""A few rows of states on their way through the vocabulary, and what is known of them so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.readout._count import count_above
from slm_lens.readout._softmax import Sums, joined, sums_of
from slm_lens.readout._top import merge, no_keys, with_tile
from slm_lens.readout.unembedding import UnembeddingRows
from slm_lens.readout.wanted import NO_TARGET

Site = Literal["position", "max", "last"]


class Needs(NamedTuple):
    """What a site needs of one part of the vocabulary."""

    above: bool
    sums: bool
    weighted: bool
    cross: bool
    top: int


@dataclass(eq=False)
class PartState:
    """What is known of one part of the vocabulary at one site.

    Attributes:
        above: logits above each of the site's `SiteRows.rising`; None if not wanted.
        sums: sums of the softmax; None if not wanted, or before the first tile.
        keys: the highest so far; None if not wanted.
    """

    above: Int[Tensor, "n_rows n_sets"] | None
    sums: Sums | None
    keys: Int[Tensor, "n_rows k"] | None


@dataclass(eq=False)
class SiteRows:
    """The rows of a block as one site sees them: positions, or words pooled over positions.

    Attributes:
        site: how positions become rows.
        spans: half-open positions of each word within the block; empty at ``"position"``.
        sets: places of each set's tokens among the block's target ids, `NO_TARGET` at the ends;
            one row if all rows share them. None without targets.
        needs: by part.
        best: logit of each set's best token; None without targets.
        rising: the same of each row in rising order, which is how `PartState.above` counts them;
            searching is a quarter faster so.
        order: which set each of them is of.
    """

    site: Site
    spans: list[tuple[int, int]]
    sets: Int[Tensor, "n_rows_or_1 n_sets n_tokens"] | None
    needs: Mapping[int, Needs]
    best: Float[Tensor, "n_rows n_sets"] | None = field(default=None, init=False)
    rising: Float[Tensor, "n_rows n_sets"] | None = field(default=None, init=False)
    order: Int[Tensor, "n_rows n_sets"] | None = field(default=None, init=False)

    def pooled(
        self, logits: Float[Tensor, "n_positions n_tokens"]
    ) -> Float[Tensor, "n_rows n_tokens"]:
        """Logits of the rows."""
        if self.site == "position":
            return logits
        if self.site == "last":
            return logits[[end - 1 for _, end in self.spans]]
        if not self.spans:
            return logits[:0]
        return torch.stack([logits[start:end].amax(0) for start, end in self.spans])

    def find_best(self, target_logits: Float[Tensor, "n_positions n_ids"]) -> None:
        """Take the logit of each set's best token, which is what others are compared with."""
        if self.sets is None:
            return
        rows = self.pooled(target_logits)
        sets = self.sets.expand(len(rows), -1, -1)
        real = sets != NO_TARGET
        if not rows.shape[1]:
            rows = rows.new_zeros(len(rows), 1)
        chosen = rows.gather(1, sets.clamp(min=0).flatten(1)).view(sets.shape)
        self.best = chosen.masked_fill(~real, -torch.inf).amax(-1)
        self.rising, self.order = self.best.detach().sort(1)


@dataclass(eq=False)
class Block:
    """Some rows of states.

    Attributes:
        states: vectors after the final norm.
        final: those of the last layer at the block's positions; None if not wanted.
        ids: rising ids of all targets at all sites.
        sites: how the rows are seen.
        target_logits: logits of `ids` at every row.
        is_exact: whether every target's logit is the one of its own tile.
    """

    states: Float[Tensor, "n_rows d_model"]
    final: Float[Tensor, "n_positions d_model"] | None
    ids: Int[Tensor, " n_ids"]
    sites: Sequence[SiteRows]
    target_logits: Float[Tensor, "n_rows n_ids"]
    is_exact: bool = True

    def start(self, part: int) -> list[PartState]:
        """Nothing is known yet of a part, at each site."""
        states = []
        for site in self.sites:
            needs = site.needs.get(part)
            if needs is None:
                states.append(PartState(None, None, None))
                continue
            n_rows = len(site.spans) if site.site != "position" else len(self.states)
            device = self.states.device
            above = None
            if needs.above:
                assert site.sets is not None
                above = torch.zeros(n_rows, site.sets.shape[1], dtype=torch.int64, device=device)
            keys = no_keys(n_rows, needs.top, device) if needs.top else None
            states.append(PartState(above, None, keys))
        return states

    def take(
        self,
        known: list[PartState],
        part: int,
        tile: UnembeddingRows,
        tile_ids: Int[Tensor, " n_tokens"],
        memory: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        """Add what one tile of a part says.

        Args:
            known: what is known at each site; changed.
            part: which part.
            tile: its rows of the unembedding.
            tile_ids: their token ids.
            memory: three pieces to work in, each for all of the block's logits of a tile.
        """
        n, c = len(self.states), len(tile_ids)
        buffer, *scratch = (m[: n * c].view(n, c) for m in memory)
        logits = tile.logits(self.states, out=buffer)
        self._check_targets(logits.detach(), tile_ids)
        final = None
        if self.final is not None and any(
            part in s.needs and s.needs[part].cross for s in self.sites
        ):
            final = tile.logits(self.final)
        # Positions last: counting may sort the logits in place.
        for site, state in sorted(
            zip(self.sites, known, strict=True), key=lambda pair: pair[0].site == "position"
        ):
            if part in site.needs:
                rows = site.pooled(logits)
                work = (scratch[0], scratch[1]) if site.site == "position" else None
                _take(state, site, site.needs[part], rows, tile_ids, final, work)

    def _check_targets(
        self, logits: Float[Tensor, "n_rows n_tokens"], tile_ids: Int[Tensor, " n_tokens"]
    ) -> None:
        """Compare the targets' logits with those in their own tile, and take these.

        Products of another shape may be rounded otherwise; they are not on the machines that were
        tried, except for a single row.
        """
        first, last = torch.searchsorted(self.ids, tile_ids[[0, -1]].contiguous()).tolist()
        last += int(last < len(self.ids) and self.ids[last] == tile_ids[-1])
        if first == last:
            return
        columns = torch.searchsorted(tile_ids, self.ids[first:last])
        inside = tile_ids[columns.clamp(max=len(tile_ids) - 1)] == self.ids[first:last]
        here = torch.arange(first, last, device=inside.device)[inside]
        own = logits[:, columns[inside]]
        if not torch.equal(own, self.target_logits[:, here].detach()):
            self.target_logits[:, here] = own
            self.is_exact = False


def _take(
    state: PartState,
    site: SiteRows,
    needs: Needs,
    logits: Float[Tensor, "n_rows n_tokens"],
    ids: Int[Tensor, " n_tokens"],
    final: Float[Tensor, "n_positions n_tokens"] | None,
    scratch: tuple[Tensor, Tensor] | None,
) -> None:
    if needs.sums:
        final = final if needs.cross else None
        sums = sums_of(logits, final, weighted=needs.weighted, scratch=scratch)
        state.sums = sums if state.sums is None else joined([state.sums, sums])
    if state.keys is not None:
        state.keys = with_tile(state.keys, logits.detach(), ids)
    if state.above is not None:
        assert site.rising is not None
        state.above += count_above(logits.detach(), site.rising)


def combine(one: PartState, other: PartState) -> PartState:
    """What two searches through different tiles of a part know together."""
    above = one.above if other.above is None or one.above is None else one.above + other.above
    known = [s for s in (one.sums, other.sums) if s is not None]
    keys = one.keys if other.keys is None or one.keys is None else merge(one.keys, other.keys)
    return PartState(above, joined(known) if known else None, keys)
