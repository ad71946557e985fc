"""The table of a `WordLens` as arrays ``[word, layer]``."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from slm_lens.lens.word_lens import WordLens


@dataclass(frozen=True, eq=False)
class Words:
    """Columns of the word table, word by word.

    Attributes:
        frame: the word table, one row per word and layer, ordered.
        n_layers: entries of the layer axis, ``n_layers + 1`` of the model.
        utterance: index into `utterances` of every word.
        utterances: names, in order of first appearance.
        is_content: of every word.
        next_is_content: of every word's follower; False where there is none.
    """

    frame: pl.DataFrame
    n_layers: int
    utterance: np.ndarray
    utterances: tuple[str, ...]
    is_content: np.ndarray
    next_is_content: np.ndarray

    @classmethod
    def of(cls, word_lens: WordLens) -> "Words":
        """Arrays of a word table.

        Args:
            word_lens: the table.

        Returns:
            The arrays.

        Raises:
            ValueError: a word does not have exactly one row for each layer, or there is none.
        """
        n_layers = word_lens.n_layers + 1
        frame = word_lens.table.sort("utterance", "word_index", "layer", maintain_order=True)
        layers = frame["layer"].to_numpy()
        if (
            not len(frame)
            or len(frame) % n_layers
            or (layers.reshape(-1, n_layers) != np.arange(n_layers)).any()
        ):
            raise ValueError(
                f"measure_phases: got a table of {len(frame)} rows, expected one row for each word "
                f"and each of {n_layers} layers. Were rows filtered or added?"
            )
        first = frame.gather_every(n_layers)
        names, utterance = np.unique(first["utterance"].to_numpy(), return_inverse=True)
        return cls(
            frame=frame,
            n_layers=n_layers,
            utterance=utterance,
            utterances=tuple(names.tolist()),
            is_content=first["is_content"].to_numpy(),
            next_is_content=first["next_is_content"].fill_null(False).to_numpy(),
        )

    def numbers(self, column: str) -> np.ndarray:
        """A column as ``[word, layer]`` in float64, NaN for null."""
        values = self.frame[column].cast(pl.Float64).to_numpy()
        return values.reshape(-1, self.n_layers)

    def hit_share(self, column: str, k: int) -> np.ndarray:
        """Share of a list column's ranks that are at most k, ``[word, layer]``, NaN for null."""
        hits = (pl.element() <= k).cast(pl.Float64)
        shares = self.frame.select(pl.col(column).list.eval(hits).list.mean()).to_series()
        return shares.to_numpy().reshape(-1, self.n_layers)
