"""Pairs of runs from a table: CSV, JSON lines or Parquet.

| column | holds |
|---|---|
| ``name`` | unique in the table |
| ``clean``, ``corrupted`` | a sound file, relative to the table, with its word times beside it (``clip.flac``, ``clip.TextGrid``); or the written text |
| ``clean_modality``, ``corrupted_modality`` | ``speech`` or ``text`` |
| ``answer`` | a word, or units: ``<Un17>``, or several that count alike, ``<Un17> <Un20>`` |
| ``foil`` | the same for the corrupted run; may be left out, or empty |
| ``continue_in`` | ``speech`` or ``text``, to announce it as the model's family does; may be left out, or empty: the run is then a whole utterance |

A clip is read whole, and the prediction after its last unit: cut it where the answer would begin.
All columns hold text. A table has these columns and no others, so that a name with a slip in it
is no column that is silently left out.
"""  # noqa: E501 (rows of a table)

import math
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from slm_lens.corpus.dataset import Limits, ReadOptions
from slm_lens.corpus.items import Item, PairItem
from slm_lens.corpus.pair_rows import PairRows, said_of
from slm_lens.interventions.pairs.answers import answer_and_foil
from slm_lens.interventions.pairs.matching import MATCHINGS, Matching, match_runs
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.lens.model import require_vocabulary
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import Modality
from slm_lens.vocab import WORD_POLICIES, WordPolicy

_NO_LIMITS = Limits(
    max_clip_s=math.inf,
    max_clip_bytes=sys.maxsize,
    max_row_bytes=sys.maxsize,
    max_words=sys.maxsize,
    max_group_bytes=sys.maxsize,
)


def read_pairs(
    model: HookedSLM,
    path: str | Path,
    *,
    match: Matching = "words",
    policy: WordPolicy | None = None,
    overlap: Literal["refuse", "trim"] = "refuse",
    missing: Literal["refuse", "interpolate"] = "refuse",
) -> tuple[RunPair, ...]:
    """Pairs of runs from a table; its columns are above.

    Args:
        model: turns sound into units, and both into tokens.
        path: a ``.csv`` (UTF-8, with a header), ``.jsonl`` or ``.parquet`` file.
        match: which spans stand for each other, see `match_runs`.
        policy: which tokens count as a word; None takes the model's own `word_policy`.
        overlap: what to do with words that overlap in time; see `read_alignment`.
        missing: what to do with words without times; see `read_alignment`.

    Returns:
        One pair for each row, in order.

    Raises:
        TypeError: the model knows no vocabulary.
        LookupError: there is no such file.
        ValueError: an unknown option, a file that cannot be read as such a table, or a row that
            cannot be used; the message names row (from 1, without the header) and column.
    """  # noqa: DOC502 (raised by the parts)
    require_vocabulary(model, "read_pairs")
    for option, got, valid in (
        ("match", match, MATCHINGS),
        ("policy", policy, (None, *WORD_POLICIES)),
    ):
        if got not in valid:
            raise ValueError(f"read_pairs: got {option}={got!r}, expected one of {valid}.")
    rows = PairRows(path, ReadOptions(_NO_LIMITS, overlap, missing), caller="read_pairs")

    @cache
    def clip(given: str) -> Item:  # several rows may name it
        tokenizer = model.unit_tokenizer
        return rows.clip(given, tokenizer.sample_rate_hz).with_units(tokenizer)

    pairs: dict[str, RunPair] = {}
    for key in rows.item_keys():
        item = rows.pair(key.number, clip)
        with rows.about(key.number):
            if key.name in pairs:
                raise ValueError(
                    f"column name: got {key.name!r}, the name of row "
                    f"{1 + list(pairs).index(key.name)} as well, expected every name once."
                )
            pair = run_pair(model, key.name, item, match=match, policy=policy or model.word_policy)
        pairs[key.name] = pair
    return tuple(pairs.values())


def run_pair(
    model: HookedSLM, name: str, item: PairItem, *, match: Matching, policy: WordPolicy
) -> RunPair:
    """A pair as the model reads it.

    Args:
        model: turns units and text into tokens.
        name: the pair's.
        item: the two runs, with units in place of sound.
        match: which spans stand for each other, see `match_runs`.
        policy: which tokens count as a word.

    Returns:
        The pair.

    Raises:
        ValueError: it cannot be used; the message begins with the columns that are the reason.
    """  # noqa: DOC502 (raised by the parts)
    with said_of("column clean"):
        clean = _sequence(model, item.clean, item.continue_in)
    with said_of("column corrupted"):
        corrupted = _sequence(model, item.corrupted, item.continue_in)
    with said_of("column answer, foil"):
        answer, foil = answer_and_foil(model.vocab, item.answer, item.foil, policy)
    with said_of("column clean, corrupted"):
        return RunPair(name, clean, corrupted, answer, foil, match_runs(clean, corrupted, match))


def _sequence(model: HookedSLM, run: Item, continue_in: Modality | None) -> SpeechTextSequence:
    """What the model reads of one run.

    Raises:
        ValueError: it has neither text nor units.
    """
    if run.text is not None:
        return model.sequence_from_text(run.text, continue_in=continue_in)
    if run.units is None:
        raise ValueError("got neither text nor units, expected one of them.")
    return model.sequence_from_units(run.units, run.alignment, continue_in=continue_in)
