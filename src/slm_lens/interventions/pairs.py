"""Two runs that fit: a clean one and a corrupted one, with the words that stand for each other.

Activation patching compares runs that differ in one thing. Spoken runs differ in length as well,
so a pair says which span of one stands for which span of the other, word by word; `moving` brings
the lengths together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from slm_lens.interventions.moving import Fit, Move, Span, move, moves_together
from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.sequence import SpeechTextSequence

Role = Literal["start", "before", "changed", "after", "end"]
ROLES: tuple[Role, ...] = get_args(Role)

Direction = Literal["denoising", "noising"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True)
class SpanMatch:
    """A span of the clean run and the one that stands for it in the corrupted run.

    Attributes:
        label: the word of the clean run, or ``<start>`` and ``<end>`` for what stands before the
            first and after the last word.
        role: ``"changed"`` where the words differ; ``"before"`` and ``"after"`` the first such
            word where they agree; ``"start"`` and ``"end"`` outside words.
        clean: half-open positions of the clean run.
        corrupted: half-open positions of the corrupted run.
    """

    label: str
    role: Role
    clean: Span
    corrupted: Span


@dataclass(frozen=True, eq=False)
class RunPair:
    """A clean run, a corrupted run, and what tells them apart.

    The prediction is read after the last token of each run.

    Attributes:
        name: unique in a set of pairs.
        clean: the run with the right answer.
        corrupted: the run that differs in one thing.
        answer: token ids that count as the clean run's answer.
        foil: token ids that count as the corrupted run's; empty for none.
        matches: spans that stand for each other, in order, without overlap.

    Raises:
        ValueError: there is no answer or match, or spans overlap or leave their run.
    """

    name: str
    clean: SpeechTextSequence
    corrupted: SpeechTextSequence
    answer: tuple[int, ...]
    foil: tuple[int, ...]
    matches: tuple[SpanMatch, ...]

    def __post_init__(self) -> None:
        if not self.answer or set(self.answer) & set(self.foil):
            raise ValueError(
                f"RunPair {self.name!r}: got answer {self.answer} and foil {self.foil}, expected "
                "at least one token of an answer, and none that is in both."
            )
        if not self.matches:
            raise ValueError(
                f"RunPair {self.name!r}: got no match, expected spans that stand for each other. "
                "match_words(clean, corrupted) gives them by word."
            )
        for side, n_tokens in (("clean", len(self.clean)), ("corrupted", len(self.corrupted))):
            end = 0
            for match in self.matches:
                span: Span = getattr(match, side)
                if not end <= span[0] < span[1] <= n_tokens:
                    raise ValueError(
                        f"RunPair {self.name!r}: got the span {span} for {match.label!r} in the "
                        f"{side} run, expected one of at least one position from {end} on, up to "
                        f"{n_tokens}."
                    )
                end = span[1]

    def runs(self, direction: Direction) -> tuple[SpeechTextSequence, SpeechTextSequence]:
        """The run that states are taken from, and the run that is changed.

        Args:
            direction: ``"denoising"`` puts the clean run's states into the corrupted run,
                ``"noising"`` the reverse.

        Returns:
            Source and target.

        Raises:
            ValueError: an unknown direction.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"RunPair: got direction={direction!r}, expected one of {DIRECTIONS}.")
        if direction == "denoising":
            return self.clean, self.corrupted
        return self.corrupted, self.clean

    def move(self, matches: Sequence[SpanMatch], direction: Direction, fit: Fit) -> Move:
        """How the states of some matches go from one run into the other.

        Args:
            matches: some of `matches`.
            direction: as in `runs`.
            fit: how lengths that differ are brought together.

        Returns:
            The move.
        """
        self.runs(direction)
        spans = [(m.clean, m.corrupted) for m in matches]
        if direction == "noising":
            spans = [(target, source) for source, target in spans]
        return moves_together([move(source, target, fit) for source, target in spans])

    def of_role(self, role: Role) -> tuple[SpanMatch, ...]:
        """Matches of one role.

        Args:
            role: which.

        Returns:
            They, in order.

        Raises:
            ValueError: there is none.
        """
        found = tuple(m for m in self.matches if m.role == role)
        if not found:
            raise ValueError(
                f"RunPair {self.name!r}: got the role {role!r}, expected one of "
                f"{sorted({m.role for m in self.matches})}, which occur."
            )
        return found


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
    """
    if not clean.words or len(clean.words) != len(corrupted.words):
        raise ValueError(
            f"match_words: got runs of {len(clean.words)} and {len(corrupted.words)} words, "
            "expected as many in both, at least one. Other pairs are matched by hand: "
            "RunPair(..., matches=[SpanMatch(...), ...])."
        )
    words = list(zip(clean.words, corrupted.words, strict=True))
    differs = [word_type(a.word) != word_type(b.word) for a, b in words]
    first = differs.index(True) if any(differs) else len(words)
    matches = []
    starts = (clean.words[0].start, corrupted.words[0].start)
    if starts[0] == starts[1] > 0 and bool(
        (clean.tokens[: starts[0]] == corrupted.tokens[: starts[0]]).all()
    ):
        matches.append(SpanMatch("<start>", "start", (0, starts[0]), (0, starts[0])))
    for i, (a, b) in enumerate(words):
        if a.end > a.start and b.end > b.start:
            role: Role = "changed" if differs[i] else "before" if i < first else "after"
            matches.append(SpanMatch(a.word, role, (a.start, a.end), (b.start, b.end)))
    ends = (len(clean), len(corrupted))
    if clean.words[-1].end < ends[0] and corrupted.words[-1].end < ends[1]:
        last = ((ends[0] - 1, ends[0]), (ends[1] - 1, ends[1]))
        matches.append(SpanMatch("<end>", "end", *last))
    return tuple(matches)
