"""What kind of errors the top text tokens are, by layer, beside those of permuted words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int

from slm_lens.lens.token_neighbours import token_neighbours
from slm_lens.lens.word_errors import ERROR_CLASSES, ErrorTables, WordErrors, token_type
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.phases.permuted import permutation_without_fixed
from slm_lens.readout.wanted import NO_TOKEN
from slm_lens.speech.phonemes import phonemes
from slm_lens.studies.phases.options import PhasesAcrossOptions
from slm_lens.studies.phases.reading import Reading

N_SEARCHED = 20
"""Neighbours that are looked for, so that chance levels of several sizes can be told."""

_SCHEMA: dict[str, Any] = {
    "model": pl.String, "layer": pl.Int32, "class": pl.String, "share": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "control": pl.Float64, "control_low": pl.Float64,
    "control_high": pl.Float64, "excess_low": pl.Float64, "excess_high": pl.Float64,
    "p": pl.Float64, "p_highest": pl.Float64, "n_words": pl.Int64, "n_types": pl.Int64,
    "n_utterances": pl.Int64,
}  # fmt: skip

ERRORS_CAPTION = (
    "A row is a class at a layer of a model: the share of spoken words whose top text token (of "
    "logits pooled by maximum over the word's positions) is of that class, and the share (mean and "
    "95 % range over permutations) when the different words, and those that follow, are permuted. "
    "Classes are exclusive, in this order: "
    + ", ".join(ERROR_CLASSES)
    + ". p is one-sided, of the "
    "share among the permuted ones; p_highest is that of the highest "
    "share over all layers, wherever that is among the permuted ones. Words without a following "
    "word do not count."
)


@dataclass(frozen=True, eq=False)
class ErrorReading:
    """Classes of the top text token of every word that counts.

    Attributes:
        reading: the model.
        errors: knows the classes.
        tables: classes of all tokens and words that occur.
        counted: which of the spoken words count.
        tokens: row of the tables of each spoken word's top token.
        words: column of each spoken word; -1 for one without letters.
        next_words: column of the word that follows; -1 for none.
        neighbours: `N_SEARCHED` nearest tokens of each word, the nearest first.
        columns: words of the columns of the tables.
    """

    reading: Reading
    errors: WordErrors
    tables: ErrorTables
    counted: Bool[np.ndarray, " n_words"]
    tokens: Int[np.ndarray, "n_words layer"]
    words: Int[np.ndarray, " n_words"]
    next_words: Int[np.ndarray, " n_words"]
    neighbours: dict[str, tuple[int, ...]]
    columns: tuple[str, ...]

    def classes(self) -> Int[np.ndarray, "n_counted layer"]:
        """Classes of the words that count.

        Returns:
            Indices into `ERROR_CLASSES`.
        """
        own = self.counted
        return self.tables.classes(self.tokens[own], self.words[own], self.next_words[own])


def read_errors(reading: Reading, options: PhasesAcrossOptions) -> ErrorReading:
    """Class the top text token of every word at every layer.

    Args:
        reading: of a model.
        options: of the study.

    Returns:
        The classes.

    Raises:
        ValueError: the vocabulary does not know how its tokens are written, or fewer than two
            different words count.
        ImportError: sounds are phonemes, and there is no espeak-ng.
    """  # noqa: DOC502 (ImportError is raised by phonemes)
    spoken, vocab = reading.spoken, reading.model.vocab
    if not vocab.labels:
        raise ValueError(
            f"study 'phases': the vocabulary of {reading.name!r} does not know how its text tokens "
            "are written, expected `labels` to compare them with words. Load the model with its "
            "text tokenizer."
        )
    top = spoken.top["max", "text"][:, :, 0]
    assert (top != NO_TOKEN).all(), "text has at least one token"
    ids, tokens = np.unique(top, return_inverse=True)
    columns = tuple(sorted(w for w in spoken.spellings if w))
    number = {w: i for i, w in enumerate(columns)}
    words = np.array([number.get(w, -1) for w in spoken.words])
    following = np.array([number.get(w or "", -1) for w in spoken.next_words])
    counted = spoken.counts & (words >= 0) & (following >= 0) & (words != following)
    if any(len(set(of[counted].tolist())) < 2 for of in (words, following)):
        raise ValueError(
            f"study 'phases': {int(counted.sum())} words of {reading.name!r} count and have a word "
            "after them, expected two different ones at least, as they are compared with each "
            "other. Give more clips, or words='all'."
        )
    written = {t: vocab.labels[t] for t in ids.tolist()}
    neighbours = _neighbours(reading, columns, options)
    errors = WordErrors(
        written=written,
        counts_as=spoken.tokens(vocab, reading.table.policy).__getitem__,
        sounds=_sounds({*columns, *map(token_type, written.values())}, options),
        neighbours={w: near[: options.n_neighbours] for w, near in neighbours.items()},
        most_distant=options.most_distant,
    )
    return ErrorReading(
        reading=reading, errors=errors, tables=errors.tables(ids.tolist(), columns),
        counted=counted, tokens=tokens.reshape(top.shape), words=words, next_words=following,
        neighbours=neighbours, columns=columns,
    )  # fmt: skip


def error_rows(found: ErrorReading, options: PhasesAcrossOptions) -> list[dict[str, Any]]:
    """Shares of the classes by layer, with those of permuted words.

    Args:
        found: classes of a model.
        options: of the study.

    Returns:
        Rows of the table.
    """
    own, classes = found.counted, found.classes()
    utterance = np.unique(found.reading.spoken.utterances()[own], return_inverse=True)[1]
    n_utterances = int(utterance.max()) + 1
    weights = resample_weights(n_utterances, options.n_bootstrap, options.seed)
    others, of_word = _permuted(found, options)
    rows = []
    for c, name in enumerate(ERROR_CLASSES):
        is_it = (classes == c).astype(np.float64)
        share = Curve.of(is_it, utterance, weights)
        excess = Curve.of(is_it - of_word[..., c], utterance, weights)
        (low, high), (less, more) = share.interval(), excess.interval()
        control = others[..., c]
        ends = np.quantile(control, (0.025, 0.975), axis=0)
        p = _p_values(control, share.estimate)
        (p_highest,) = _p_values(control.max(1, keepdims=True), share.estimate.max(keepdims=True))
        rows += [
            {
                "model": found.reading.name, "layer": layer, "class": name,
                "share": share.estimate[layer], "low": low[layer], "high": high[layer],
                "control": control[:, layer].mean(), "control_low": ends[0, layer],
                "control_high": ends[1, layer], "excess_low": less[layer],
                "excess_high": more[layer], "p": p[layer], "p_highest": p_highest,
                "n_words": share.n_words,
                "n_types": len(np.unique(found.words[own])), "n_utterances": n_utterances,
            }
            for layer in range(classes.shape[1])
        ]  # fmt: skip
    return rows


def error_frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """The table.

    Args:
        rows: of all models.

    Returns:
        A row for each model, layer and class.
    """
    return (
        pl.DataFrame(rows, schema=_SCHEMA)
        .fill_nan(None)
        .sort("model", "layer", maintain_order=True)
    )


def permuted_words(
    found: ErrorReading, n_shuffles: int, seed: int
) -> list[tuple[Int[np.ndarray, " n_counted"], Int[np.ndarray, " n_counted"]]]:
    """Other words in the place of those that count: the same one for all of a word.

    Args:
        found: classes of a model.
        n_shuffles: how often.
        seed: of the permutations.

    Returns:
        Columns of the words and of those that follow, each permuted among themselves.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(n_shuffles):
        pair = []
        for column in (found.words[found.counted], found.next_words[found.counted]):
            types, place = np.unique(column, return_inverse=True)
            pair.append(types[permutation_without_fixed(len(types), rng)][place])
        drawn.append((pair[0], pair[1]))
    return drawn


def _permuted(
    found: ErrorReading, options: PhasesAcrossOptions
) -> tuple[Float[np.ndarray, "n_shuffles layer class"], Float[np.ndarray, "n_counted layer class"]]:
    """Shares of the classes in each permutation, and of each word over all of them."""
    tokens, n = found.tokens[found.counted], len(ERROR_CLASSES)
    of_word = np.zeros((*tokens.shape, n))
    shares = []
    for words, following in permuted_words(found, options.n_shuffles, options.seed):
        one_hot = np.eye(n)[found.tables.classes(tokens, words, following)]
        of_word += one_hot / options.n_shuffles
        shares.append(one_hot.mean(0))
    return np.stack(shares), of_word


def _p_values(control: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Share of permutations that come as high, the observed one among them."""
    return (1 + (control >= share - 1e-12).sum(0)) / (1 + len(control))


def _neighbours(
    reading: Reading, words: Sequence[str], options: PhasesAcrossOptions
) -> dict[str, tuple[int, ...]]:
    model, vocab = reading.model, reading.model.vocab
    rows = model.W_U.T if options.neighbours_by == "unembedding" else model.W_E
    own = reading.spoken.tokens(vocab, "whole_word")
    near = token_neighbours(
        rows.detach(),
        torch.tensor(list(vocab.text)),
        [own[w] for w in words],
        n=max(N_SEARCHED, options.n_neighbours),
    )
    return dict(zip(words, near, strict=True))


def _sounds(types: set[str], options: PhasesAcrossOptions) -> dict[str, tuple[str, ...]]:
    if options.sounds == "letters":
        return {w: tuple(c for c in w if c.isalpha()) for w in types}
    return phonemes(sorted(types), voice=options.voice)
