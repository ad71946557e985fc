"""What node attribution found: scores by position, and how they compare with real patching."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl
from jaxtyping import Float
from torch import Tensor

from slm_lens._pictured import Pictured
from slm_lens.interventions.attribution._pair_task import Question
from slm_lens.interventions.attribution._places import Place, membership, places
from slm_lens.interventions.attribution._top import place_columns, schema_with, top_rows
from slm_lens.interventions.attribution.verify import NodeAt, check_same_model, node_effects
from slm_lens.interventions.patching.patch_pairs import At
from slm_lens.interventions.site import Site
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.model.provenance import Provenance


@dataclass(frozen=True, eq=False)
class NodeAttribution(Pictured):
    """Scores of nodes, for each pair.

    Attributes:
        question: pairs, metric, and how words of unequal length were brought together.
        method: how scores were computed, for titles.
        sites: the nodes.
        scores: for each pair, scores at each position of its corrupted run; of GradDrop one layer
            after the other, else one.
        signed: whether scores have a sign; those of GradDrop have none.
        clean: metric of each clean run; NaN for one that does not compare runs.
        corrupted: metric of each corrupted run.
        provenance: what the numbers depend on; None for a bridge that does not say.
        unembedding: hash of what the model's logits are read through (`unembedding_hash`).
    """

    question: Question
    method: str
    sites: tuple[Site, ...]
    scores: tuple[Float[Tensor, "n_drops n_sites _"], ...]
    signed: bool
    clean: Float[Tensor, " n_pairs"]
    corrupted: Float[Tensor, " n_pairs"]
    provenance: Provenance | None
    unembedding: str

    def summed(self, pair: int, at: At) -> Float[Tensor, "n_sites n_places"]:
        """Scores of one pair, summed over the positions of each place.

        Args:
            pair: its number.
            at: ``"positions"``, ``"words"``, ``"roles"`` or ``"all"``.

        Returns:
            One score for each node and place; of GradDrop the mean of their absolute values over
            the layers that were dropped, taken after the sum.

        Raises:
            ValueError: an unknown `at`.
        """  # noqa: DOC502 (raised by places)
        found = self.scores[pair]
        inside = membership(self._places(pair, at), found.shape[-1])
        by_place = found @ inside.T
        return by_place[0] if self.signed else by_place.abs().sum(0) / (len(found) - 1)

    def to_frame(self, at: At = "words") -> pl.DataFrame:
        """All scores as a table.

        Args:
            at: as in `summed`.

        Returns:
            A row for each pair, node and place.
        """
        return pl.DataFrame([row for row, _ in self._rows(at)], schema=_SCHEMA)

    def mean(self, at: At = "roles") -> pl.DataFrame:
        """Scores of places that all pairs share, mean over the pairs that have them.

        Args:
            at: ``"roles"``, or ``"all"`` for sums over all positions.

        Returns:
            A row for each node and place: ``kind``, ``layer``, ``head``, ``role`` (null for
            ``"all"``), ``score`` and ``n_pairs``.

        Raises:
            ValueError: places that pairs do not share.
        """
        if at not in ("roles", "all"):
            raise ValueError(
                f"NodeAttribution.mean: got at={at!r}, expected 'roles' or 'all', which all pairs "
                "share."
            )
        by = self.to_frame(at).group_by("kind", "layer", "head", "role", maintain_order=True)
        return by.agg(pl.col("score").mean(), n_pairs=pl.len())

    def top(self, model: DifferentiableModel, n: int = 10, *, at: At = "words") -> pl.DataFrame:
        """The largest scores by size, each beside the effect of really patching.

        Args:
            model: the model that they were computed with.
            n: how many rows.
            at: as in `summed`. Roles and sums over all positions are means over the pairs that
                have them.

        Returns:
            The table of `to_frame` with `n_pairs` and ``verified``: the metric of the corrupted run
            with the clean activation put there, less that of the corrupted run.

        Raises:
            ValueError: `n` is less than 1, or another model.
        """  # noqa: DOC502 (raised by top_rows and check_same_model)
        check_same_model(model, self.provenance, self.unembedding, "NodeAttribution.top")
        effects = partial(node_effects, model, self.question)
        return top_rows(self._rows(at), n, at, effects, _SCHEMA)

    def _places(self, pair: int, at: At) -> tuple[Place, ...]:
        return places(self.question.pairs[pair], "denoising", at, "NodeAttribution")

    def _rows(self, at: At) -> Iterator[tuple[dict[str, Any], NodeAt]]:
        for i, pair in enumerate(self.question.pairs):
            where, found = self._places(i, at), self.summed(i, at).tolist()
            for site, scores in zip(self.sites, found, strict=True):
                for place, score in zip(where, scores, strict=True):
                    row = {
                        "pair": pair.name,
                        "node": site.label,
                        "kind": site.kind,
                        "layer": site.layer,
                        "head": site.head,
                        **place_columns(place),
                        "score": score,
                    }
                    yield row, (i, site, place)


_SCHEMA = schema_with({"node": pl.String, "kind": pl.String, "layer": pl.Int64, "head": pl.Int64})
