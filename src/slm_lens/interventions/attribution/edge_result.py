"""What edge attribution found: a matrix of writers and readers for each place of each pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl
from jaxtyping import Float
from torch import Tensor

from slm_lens._pictured import Pictured
from slm_lens.interventions.attribution._pair_task import Question
from slm_lens.interventions.attribution._places import Place, places
from slm_lens.interventions.attribution._top import place_columns, schema_with, top_rows
from slm_lens.interventions.attribution.graph import Edge, ResidualGraph
from slm_lens.interventions.attribution.path_patching import EdgeAt, edge_effects
from slm_lens.interventions.attribution.verify import check_same_model
from slm_lens.interventions.patching.patch_pairs import At
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.model.provenance import Provenance


@dataclass(frozen=True, eq=False)
class EdgeAttribution(Pictured):
    """Scores of edges, for each pair.

    Attributes:
        question: pairs, metric, and how words of unequal length were brought together.
        method: how scores were computed, for titles.
        graph: writers, readers, and which of them make an edge.
        at: what scores are summed over.
        scores: for each pair, scores of writers and readers at each place of its corrupted run;
            0 where there is no edge.
        clean: metric of each clean run; NaN for one that does not compare runs.
        corrupted: metric of each corrupted run.
        provenance: what the numbers depend on; None for a bridge that does not say.
        unembedding: hash of what the model's logits are read through (`unembedding_hash`).
    """

    question: Question
    method: str
    graph: ResidualGraph
    at: At
    scores: tuple[Float[Tensor, "n_writers n_readers _"], ...]
    clean: Float[Tensor, " n_pairs"]
    corrupted: Float[Tensor, " n_pairs"]
    provenance: Provenance | None
    unembedding: str

    def places(self, pair: int) -> tuple[Place, ...]:
        """What the last axis of the scores of a pair counts.

        Args:
            pair: its number.

        Returns:
            Places, in order.
        """
        return places(self.question.pairs[pair], "denoising", self.at, "EdgeAttribution")

    def mean(self) -> Float[Tensor, "n_writers n_readers"]:
        """Scores summed over places, mean over pairs."""
        return sum((s.sum(-1) for s in self.scores), start=0 * self.scores[0][..., 0]) / len(
            self.scores
        )

    def circuit(self, n: int) -> tuple[Edge, ...]:
        """The edges with the largest `mean` by size, to ask how faithful they are.

        Args:
            n: how many.

        Returns:
            They, the largest first.

        Raises:
            ValueError: fewer than 1, or more than there are.
        """
        if not 1 <= n <= self.graph.n_edges:
            raise ValueError(
                f"EdgeAttribution.circuit: got n={n}, expected 1 to {self.graph.n_edges}."
            )
        sizes = self.mean().abs().masked_fill(~self.graph.edges, -1)
        best = sizes.flatten().argsort(descending=True, stable=True)[:n].tolist()
        n_readers = len(self.graph.readers)
        return tuple(
            (self.graph.writers[i // n_readers], self.graph.readers[i % n_readers]) for i in best
        )

    def to_frame(self) -> pl.DataFrame:
        """All scores as a table.

        Returns:
            A row for each pair, edge and place.
        """
        return pl.DataFrame([row for row, _ in self._rows()], schema=_SCHEMA)

    def top(self, model: DifferentiableModel, n: int = 10) -> pl.DataFrame:
        """The largest scores by size, each beside the effect of really patching the edge.

        Args:
            model: the model that they were computed with.
            n: how many rows. Roles and sums over all positions are means over the pairs that have
                them.

        Returns:
            The table of `to_frame` with `n_pairs` and ``verified``: the metric of the corrupted run
            whose reader gets the clean output of the writer, less that of the corrupted run.

        Raises:
            ValueError: `n` is less than 1, or another model.
        """  # noqa: DOC502 (raised by top_rows and check_same_model)
        check_same_model(model, self.provenance, self.unembedding, "EdgeAttribution.top")
        effects = partial(edge_effects, model, self.question)
        return top_rows(self._rows(), n, self.at, effects, _SCHEMA)

    def _rows(self) -> Iterator[tuple[dict[str, Any], EdgeAt]]:
        edges = self.graph.edges.nonzero().tolist()
        for i, (pair, scores) in enumerate(zip(self.question.pairs, self.scores, strict=True)):
            where, found = self.places(i), scores.tolist()
            for w, r in edges:
                writer, reader = self.graph.writers[w], self.graph.readers[r]
                for place, score in zip(where, found[w][r], strict=True):
                    row = {
                        "pair": pair.name,
                        "writer": writer.label,
                        "reader": reader.label,
                        **place_columns(place),
                        "score": score,
                    }
                    yield row, (i, (writer, reader), place)


_SCHEMA = schema_with({"writer": pl.String, "reader": pl.String})
