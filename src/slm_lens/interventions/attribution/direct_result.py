"""What direct logit attribution found: parts that sum to the value, and heads by source word."""

from dataclasses import dataclass
from typing import Literal

import polars as pl
from jaxtyping import Float
from torch import Tensor

from slm_lens._pictured import Pictured
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance

PartKind = Literal["embed", "pos_embed", "head", "attn_bias", "mlp", "constant"]


@dataclass(frozen=True)
class Part:
    """A summand of the last stream, or what belongs to none.

    Attributes:
        kind: ``"attn_bias"`` is what the attention's output adds besides its heads;
            ``"constant"`` the unembedding's bias and the final norm's offset.
        layer: block, counted from 0; None for embeddings and the constant.
        head: query head, counted from 0; None for what is no head.
    """

    kind: PartKind
    layer: int | None
    head: int | None

    @property
    def label(self) -> str:
        """Short name, such as ``L3H1`` or ``L3 mlp``."""
        if self.layer is None:
            return self.kind
        return f"L{self.layer} {self.kind}" if self.head is None else f"L{self.layer}H{self.head}"


@dataclass(frozen=True, eq=False)
class DirectAttribution(Pictured):
    """Parts of a logit difference, for each utterance.

    Attributes:
        utterances: what was read.
        directions: name of what was divided, for each utterance.
        positions: position at which each was read.
        parts: the parts.
        scores: score of each part, in logits; they sum to the value.
        sources: for each utterance, the heads' scores by the position that they read.
        provenance: what the numbers depend on; None for a bridge that does not say.
    """

    utterances: tuple[Utterance, ...]
    directions: tuple[str, ...]
    positions: tuple[int, ...]
    parts: tuple[Part, ...]
    scores: Float[Tensor, "n_utterances n_parts"]
    sources: tuple[Float[Tensor, "layer head _"], ...]
    provenance: Provenance | None

    @property
    def values(self) -> Float[Tensor, " n_utterances"]:
        """What was divided: the sum of all parts."""
        return self.scores.sum(1)

    def by_layer(self) -> Float[Tensor, "n_utterances layer"]:
        """Attention and MLP of each layer together; embeddings and constant are in none.

        Returns:
            Their sums.
        """
        n_layers = 1 + max(part.layer for part in self.parts if part.layer is not None)
        sums = self.scores.new_zeros(len(self.scores), n_layers)
        for part, scores in zip(self.parts, self.scores.T, strict=True):
            if part.layer is not None:
                sums[:, part.layer] += scores
        return sums

    def to_frame(self) -> pl.DataFrame:
        """All parts as a table.

        Returns:
            A row for each utterance and part.
        """
        rows = [
            {
                "utterance": utterance.name,
                "direction": direction,
                "part": part.label,
                "kind": part.kind,
                "layer": part.layer,
                "head": part.head,
                "score": score,
            }
            for utterance, direction, scores in zip(
                self.utterances, self.directions, self.scores.tolist(), strict=True
            )
            for part, score in zip(self.parts, scores, strict=True)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def top(self, n: int = 10) -> pl.DataFrame:
        """The largest parts by size.

        Args:
            n: how many rows.

        Returns:
            Rows of `to_frame`. There is nothing to verify: parts sum to the value exactly.

        Raises:
            ValueError: `n` is less than 1.
        """
        if n < 1:
            raise ValueError(f"DirectAttribution.top: got n={n}, expected at least 1.")
        return self.to_frame().sort(pl.col("score").abs(), descending=True).head(n)

    def words(self) -> pl.DataFrame:
        """Heads by the word that they read.

        Returns:
            A row for each utterance, head and word: the sum over the word's positions. Positions
            outside words are one row, with no word. The rows of a head sum to its part.
        """
        rows = []
        for utterance, direction, found in zip(
            self.utterances, self.directions, self.sources, strict=True
        ):
            words = utterance.sequence.words
            spans = [found[..., word.start : word.end].sum(-1) for word in words]
            rest = found.sum(-1) - sum(spans, start=0 * found.sum(-1))
            for number, scores in [*enumerate(spans), (None, rest)]:
                for layer, heads in enumerate(scores.tolist()):
                    rows += [
                        {
                            "utterance": utterance.name,
                            "direction": direction,
                            "layer": layer,
                            "head": head,
                            "word": number,
                            "label": None if number is None else words[number].word,
                            "score": score,
                        }
                        for head, score in enumerate(heads)
                    ]
        return pl.DataFrame(rows, infer_schema_length=None)
