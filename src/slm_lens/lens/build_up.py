"""How a word builds up: what each layer makes of it after its first unit, its second one, ...

Every beginning of a word, its first unit, its first two ones, and so on to all of them, is read as
if it were the word: at its last position alone (``last``: what a single position says), and with
the maximum of the logits over all units so far (``max``). The rows of whole words are those of
`slm_lens.lens.word_lens`. What is read of a word at the position before its first unit is a
prediction: nothing of it was heard.

A unit of the sequence is known to the model from its position on; how long it lasts, it learns from
what follows. So what is read at a unit counts as heard from the unit's start on, and a curve over
the share of the word that was heard is a step function: `BuildUp.at_shares`.

Source: ours. Gating, words cut after growing parts of them: Grosjean 1980, "Spoken word recognition
processes and the gating paradigm".
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl
from jaxtyping import Float
from torch import Tensor

from slm_lens.lens._read_words import WordReadout
from slm_lens.lens._word_table import build_table
from slm_lens.lens.model import SpeechTextModel, require_vocabulary
from slm_lens.lens.states import Forward, choose_forward
from slm_lens.lens.targets import TargetPlan, WordTargets
from slm_lens.lens.utterance_reader import UtteranceReader
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance
from slm_lens.vocab import WordPolicy

Heard = Literal["time", "units"]
WORD = ("utterance", "word_index")
"""Columns that name a word."""

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class BuildUp:
    """One row for each utterance, spoken word, number of its units that were heard, and layer.

    The number is 0 at the position before the word; a word at the very start has none.

    Attributes:
        table: the rows; columns below.
        provenance: what the numbers depend on.
        n_layers: blocks of the model; layers run from 0 (embeddings) to ``n_layers``.
        n_text: text rows of the embedding.
        policy: which tokens count as a word.
        n_draws: control words for each word and kind of control.
        seed: seed of the control draws.
        words_without_positions: spoken words that no position carries; they have no rows.

    Columns of the table:
        All of `WordLens`, of the first ``n_heard`` positions of the word, or of the one before it
        if that is 0. Besides: ``n_units``, positions of the whole word; ``heard_from`` and
        ``heard_to``, shares of the word's duration at the start and the end of the latest unit
        (the first one may begin before the word does, so below 0); null without times.
    """

    table: pl.DataFrame
    provenance: Provenance
    n_layers: int
    n_text: int
    policy: WordPolicy
    n_draws: int
    seed: int
    words_without_positions: dict[str, int]

    def at_shares(self, shares: Sequence[float], *, heard: Heard) -> pl.DataFrame:
        """Every word at the same shares of it that were heard.

        Args:
            shares: in [0, 1]; 0 is the position before the word.
            heard: ``"time"``: of the word's duration; the row is that of the latest unit that had
                begun. ``"units"``: of its units; that of the unit in which the share ends.

        Returns:
            The table with a column ``share``: one row for each word, share and layer, sorted by
            utterance, word, share and layer; none at share 0 for a word at the very start.

        Raises:
            ValueError: a share out of range, or times are wanted of a table without.
        """
        if not shares or not all(0 <= x <= 1 for x in shares):
            raise ValueError(f"at_shares: got shares {list(shares)}, expected some in [0, 1].")
        in_word = pl.col("n_heard") > 0
        if heard == "time" and self.table.filter(in_word)["heard_from"].null_count():
            raise ValueError(
                "at_shares: got heard='time' for words without times, expected times_s in "
                "word_build_up and times of the words. Or take heard='units'."
            )
        parts = []
        for x in shares:
            begun = in_word & (pl.col("heard_from") < x - _ROUNDING)
            n_heard = (
                begun.sum().over(*WORD, "layer").clip(1)
                if heard == "time"
                else (pl.col("n_units") * x - _ROUNDING).ceil()
            )
            wanted = in_word & (pl.col("n_heard") == n_heard) if x else ~in_word
            parts.append(self.table.filter(wanted).with_columns(share=pl.lit(float(x))))
        return pl.concat(parts).sort(*WORD, "share", "layer")


def word_build_up(
    model: SpeechTextModel,
    utterances: Sequence[Utterance],
    *,
    function_words: frozenset[str],
    policy: WordPolicy,
    times_s: Sequence[Float[Tensor, "_ 2"]] | None = None,
    n_draws: int = 20,
    seed: int = 0,
    forward: Forward = "auto",
) -> BuildUp:
    """Read every beginning of every spoken word at every layer.

    Args:
        model: the model, in evaluation mode.
        utterances: what to read; names must differ.
        function_words: lower-case words that are not content words.
        policy: which tokens count as a word.
        times_s: start and end in seconds of every position of each utterance, NaN where it has
            none (`slm_lens.sequence.streams.stream_times_s`); None if they are not known.
        n_draws: control words for each word and kind of control; the same ones for all of its
            beginnings, and as in `word_lens`.
        seed: seed of the control draws.
        forward: which forward pass gives the states, as in `residual_stack`.

    Returns:
        The table.

    Raises:
        VocabError: the model has no text tokens to read words in.
        TypeError: the model knows no vocabulary.
        ValueError: names that repeat, times that are not in step with the utterances, no spoken
            word with a position, or a model that `residual_stack` refuses.

    Source:
        Ours.
    """  # noqa: DOC502 (some raised by the functions it calls)
    require_vocabulary(model, "word_build_up")
    model.vocab.require_text("word_build_up", model.provenance.model_and_family)
    _check(utterances, times_s)
    plan = TargetPlan(
        model.vocab,
        utterances,
        policy=policy,
        function_words=function_words,
        word_counts=None,
        n_draws=n_draws,
        seed=seed,
    )
    used = choose_forward(model, forward, "word_build_up")
    reader = UtteranceReader(model, plan, n_draws=n_draws, forward=used, lens=None)
    beginnings: list[WordTargets] = []
    readouts: list[WordReadout] = []
    places: list[dict[str, int | float | None]] = []
    skipped: Counter[str] = Counter()
    for u, utterance in enumerate(utterances):
        words, without = reader.targets(u, utterance)
        skipped.update(without)
        here = [b for w in words for b in _beginnings(w)]
        readouts += reader.read([utterance], [here])
        beginnings += here
        times = None if times_s is None else times_s[u]
        places += [place for w in words for place in _places(w, times)]
    if not beginnings:
        raise ValueError(
            f"word_build_up: found no spoken word with a position in {len(utterances)} utterances, "
            "expected at least one. Are the words of the sequences marked 'speech'?"
        )
    n_layers = model.cfg.n_layers
    table = build_table([x.name for x in utterances], beginnings, readouts).drop("n_positions")
    columns = pl.DataFrame(places, schema=_PLACE)
    return BuildUp(
        table=table.hstack(columns.select(pl.all().repeat_by(n_layers + 1).explode())),
        provenance=reader.provenance(readouts),
        n_layers=n_layers,
        n_text=int(model.vocab.mask("text").sum()),
        policy=policy,
        n_draws=n_draws,
        seed=seed,
        words_without_positions=dict(skipped),
    )


def _check(utterances: Sequence[Utterance], times_s: Sequence[Float[Tensor, "_ 2"]] | None) -> None:
    names = [x.name for x in utterances]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"word_build_up: got {len(names)} utterances of {len(set(names))} names, expected at "
            "least one, each with a name of its own."
        )
    if times_s is not None and [len(t) for t in times_s] != [len(x.sequence) for x in utterances]:
        raise ValueError(
            "word_build_up: got times_s that are not in step with the utterances, expected start "
            "and end of every position of each."
        )


_PLACE = {
    "n_heard": pl.Int32,
    "n_units": pl.Int32,
    "heard_from": pl.Float64,
    "heard_to": pl.Float64,
}


def _cuts(word: WordTargets) -> range:
    """How many of the word's positions are heard, 0 where there is a position before it."""
    start, end = word.span.start, word.span.end
    return range(0 if start else 1, end - start + 1)


def _beginnings(word: WordTargets) -> list[WordTargets]:
    """The word cut after each of its positions, and the position before it."""
    start = word.span.start
    spans = [(start, start + n) if n else (start - 1, start) for n in _cuts(word)]
    return [replace(word, span=replace(word.span, start=a, end=b)) for a, b in spans]


def _places(
    word: WordTargets, times_s: Float[Tensor, "_ 2"] | None
) -> list[dict[str, int | float | None]]:
    """Of each beginning: its units, those of the whole word, and shares of the duration."""
    span, places = word.span, []
    for n in _cuts(word):
        shares: tuple[float | None, float | None] = (None, None)
        if n and times_s is not None and span.start_s is not None and span.end_s is not None:
            unit_s = times_s[span.start + n - 1].double()
            if span.end_s > span.start_s and not unit_s.isnan().any():
                begun, ended = ((unit_s - span.start_s) / (span.end_s - span.start_s)).tolist()
                shares = begun, ended
        begun, ended = shares
        n_units = span.end - span.start
        places.append({"n_heard": n, "n_units": n_units, "heard_from": begun, "heard_to": ended})
    return places
