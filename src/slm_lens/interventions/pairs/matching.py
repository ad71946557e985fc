"""Which spans of a clean run and a corrupted run stand for each other.

| matching | a span is | the runs need |
|---|---|---|
| `match_words` | a word | as many words |
| `match_word_ends` | the last position of a word | as many words |
| `match_units` | a unit | as many units |

Source: ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from slm_lens.interventions.pairs.moving import Span
from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.sequence import SpeechTextSequence

Role = Literal["start", "before", "changed", "after", "end"]
ROLES: tuple[Role, ...] = get_args(Role)

Matching = Literal["words", "word_ends", "units"]
MATCHINGS: tuple[Matching, ...] = get_args(Matching)


@dataclass(frozen=True)
class SpanMatch:
    """A span of the clean run and the one that stands for it in the corrupted run.

    Attributes:
        label: the word of the clean run, or ``unit 3`` for its fourth unit; ``<start>`` and
            ``<end>`` for what stands before the first and after the last one.
        role: ``"changed"`` where the words (units) differ; ``"before"`` and ``"after"`` the first
            that differ, where they agree; ``"start"`` and ``"end"`` outside them.
        clean: half-open positions of the clean run.
        corrupted: half-open positions of the corrupted run.

    Raises:
        ValueError: an unknown role.
    """

    label: str
    role: Role
    clean: Span
    corrupted: Span

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(
                f"SpanMatch {self.label!r}: got role={self.role!r}, expected one of {ROLES}."
            )


def match_runs(
    clean: SpeechTextSequence, corrupted: SpeechTextSequence, by: Matching = "words"
) -> tuple[SpanMatch, ...]:
    """Which spans stand for each other.

    Args:
        clean: one run.
        corrupted: the other one.
        by: what is matched, see above.

    Returns:
        The matches, in order.

    Raises:
        ValueError: an unknown way, or runs that do not fit.
    """
    ways = {"words": match_words, "word_ends": match_word_ends, "units": match_units}
    if by not in ways:
        raise ValueError(f"match_runs: got by={by!r}, expected one of {MATCHINGS}.")
    return ways[by](clean, corrupted)


def match_words(clean: SpeechTextSequence, corrupted: SpeechTextSequence) -> tuple[SpanMatch, ...]:
    """Which spans stand for each other: the words by their number, the start and the end.

    Words are compared in lower case, without punctuation. A word that has no position in one of
    the runs matches nothing. The start is what stands before the first word, where both runs have
    the same tokens; the end is the last position of each run, if it is behind the last word.

    Args:
        clean: one run.
        corrupted: the other one, of as many words.

    Returns:
        The matches, in order.

    Raises:
        ValueError: the runs have no word, or not as many.
    """  # noqa: DOC502 (raised by the helper)
    return _match_words(clean, corrupted, "match_words")


def match_word_ends(
    clean: SpeechTextSequence, corrupted: SpeechTextSequence
) -> tuple[SpanMatch, ...]:
    """As `match_words`, but a word stands for itself with its last position alone.

    There both runs have taken in the whole word, so spans are of equal length whatever the words'.

    Args:
        clean: one run.
        corrupted: the other one, of as many words.

    Returns:
        The matches, in order; the start is whole.

    Raises:
        ValueError: the runs have no word, or not as many.
    """  # noqa: DOC502 (raised by the helper)
    whole = _match_words(clean, corrupted, "match_word_ends")
    return tuple(
        m if m.role == "start" else replace(m, clean=_last(m.clean), corrupted=_last(m.corrupted))
        for m in whole
    )


def match_units(clean: SpeechTextSequence, corrupted: SpeechTextSequence) -> tuple[SpanMatch, ...]:
    """Which units stand for each other, one by one; the start and the end as in `match_words`.

    For clips that were made of equal length, and for one clip with some units replaced. What is
    written between units matches nothing.

    Args:
        clean: one run.
        corrupted: the other one, of as many units.

    Returns:
        The matches, in order, each of one position but the start.

    Raises:
        ValueError: the runs have no unit, or not as many.
    """
    places = [
        [i for i, kind in enumerate(run.kinds) if kind == "speech"] for run in (clean, corrupted)
    ]
    if not places[0] or len(places[0]) != len(places[1]):
        raise ValueError(
            f"match_units: got runs of {len(places[0])} and {len(places[1])} units, expected as "
            "many in both, at least one. Clips of different length are matched by word: "
            "match_words(clean, corrupted)."
        )
    spans = [((a, a + 1), (b, b + 1)) for a, b in zip(*places, strict=True)]
    differs = (clean.tokens[places[0]] != corrupted.tokens[places[1]]).tolist()
    labels = [f"unit {i}" for i in range(len(spans))]
    return _with_start_and_end(clean, corrupted, spans, labels, differs)


def _match_words(
    clean: SpeechTextSequence, corrupted: SpeechTextSequence, caller: str
) -> tuple[SpanMatch, ...]:
    if not clean.words or len(clean.words) != len(corrupted.words):
        raise ValueError(
            f"{caller}: got runs of {len(clean.words)} and {len(corrupted.words)} words, "
            "expected as many in both, at least one. Other pairs are matched by hand: "
            "RunPair(..., matches=[SpanMatch(...), ...])."
        )
    words = list(zip(clean.words, corrupted.words, strict=True))
    spans = [((a.start, a.end), (b.start, b.end)) for a, b in words]
    differs = [word_type(a.word) != word_type(b.word) for a, b in words]
    return _with_start_and_end(clean, corrupted, spans, [w.word for w in clean.words], differs)


def _with_start_and_end(
    clean: SpeechTextSequence,
    corrupted: SpeechTextSequence,
    spans: Sequence[tuple[Span, Span]],
    labels: Sequence[str],
    differs: Sequence[bool],
) -> tuple[SpanMatch, ...]:
    """Matches of spans, and of what stands before the first and after the last one."""
    first = differs.index(True) if any(differs) else len(differs)
    matches = []
    (start, start_b), ends = (spans[0][0][0], spans[0][1][0]), spans[-1]
    if start == start_b > 0 and bool((clean.tokens[:start] == corrupted.tokens[:start]).all()):
        matches.append(SpanMatch("<start>", "start", (0, start), (0, start)))
    for i, ((a, b), label) in enumerate(zip(spans, labels, strict=True)):
        if a[1] > a[0] and b[1] > b[0]:
            role: Role = "changed" if differs[i] else "before" if i < first else "after"
            matches.append(SpanMatch(label, role, a, b))
    whole = (0, len(clean)), (0, len(corrupted))
    if ends[0][1] < len(clean) and ends[1][1] < len(corrupted):
        matches.append(SpanMatch("<end>", "end", *map(_last, whole)))
    return tuple(matches)


def _last(span: Span) -> Span:
    return span[1] - 1, span[1]
