"""Two runs that fit: a clean one and a corrupted one, with the words that stand for each other.

Activation patching compares runs that differ in one thing. Spoken runs differ in length as well,
so a pair says which span of one stands for which span of the other (`matching`), and `moving`
brings the lengths together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from slm_lens.interventions.pairs.matching import Role, SpanMatch
from slm_lens.interventions.pairs.moving import Fit, Move, Span, move, moves_together
from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.vocab import TokenKind

Direction = Literal["denoising", "noising"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


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
        ValueError: there is no answer or match, a token twice in answer and foil, or spans
            overlap or leave their run.
    """

    name: str
    clean: SpeechTextSequence
    corrupted: SpeechTextSequence
    answer: tuple[int, ...]
    foil: tuple[int, ...]
    matches: tuple[SpanMatch, ...]

    def __post_init__(self) -> None:
        both = (*self.answer, *self.foil)
        if not self.answer or len(set(both)) != len(both):
            raise ValueError(
                f"RunPair {self.name!r}: got answer {self.answer} and foil {self.foil}, expected "
                "at least one token of an answer, and no token twice."
            )
        if not self.matches:
            raise ValueError(
                f"RunPair {self.name!r}: got no match, expected spans that stand for each other. "
                "match_runs(clean, corrupted) gives them by word."
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

    def of_word(self, word: str) -> tuple[SpanMatch, ...]:
        """Matches of one word of the clean run, in lower case, without punctuation.

        Args:
            word: which.

        Returns:
            They, in order.

        Raises:
            ValueError: it does not occur, or no position carries it in one of the runs.
        """
        words = [m for m in self.matches if m.role not in ("start", "end")]
        found = tuple(m for m in words if word_type(m.label) == word_type(word))
        if not found:
            raise ValueError(
                f"RunPair {self.name!r}: got the word {word!r}, expected one of "
                f"{[m.label for m in words]}, which are matched. A word of the corrupted run goes "
                "by the word of the clean run that it stands for."
            )
        return found


def pair_of_tokens(
    name: str,
    clean: Int[Tensor, " pos"],
    corrupted: Int[Tensor, " pos"],
    answer: Sequence[int],
    foil: Sequence[int] = (),
    *,
    kind: TokenKind = "text",
) -> RunPair:
    """A pair of two runs of equal length, every position matched with its own number.

    For text models, and wherever words do not matter::

        pair = pair_of_tokens("ioi", model.to_tokens(clean)[0], model.to_tokens(corrupted)[0], [id])

    Args:
        name: unique in a set of pairs.
        clean: token ids of the clean run.
        corrupted: token ids of the corrupted run.
        answer: token ids that count as the clean run's answer.
        foil: token ids that count as the corrupted run's.
        kind: of all tokens.

    Returns:
        The pair; positions whose tokens differ have the role ``"changed"``.

    Raises:
        TypeError: the runs are no tensors of whole numbers.
        ValueError: they are no two runs of equal length, or as `RunPair`.
    """
    strange = [
        str(t.dtype) if isinstance(t, Tensor) else type(t).__name__
        for t in (clean, corrupted)
        if not isinstance(t, Tensor) or t.is_floating_point() or t.dtype == torch.bool
    ]
    if strange:
        raise TypeError(
            f"pair_of_tokens: got {strange} as token ids, expected tensors of whole numbers. Give "
            "torch.tensor([...])."
        )
    if clean.ndim != 1 or clean.shape != corrupted.shape or not len(clean):
        raise ValueError(
            f"pair_of_tokens: got tokens of shape {tuple(clean.shape)} and "
            f"{tuple(corrupted.shape)}, expected two runs [pos] of equal length. Runs of unequal "
            "length need words: match_runs."
        )
    differs = (clean != corrupted).tolist()
    first = differs.index(True) if any(differs) else len(differs)
    matches = []
    for i, changed in enumerate(differs):
        role: Role = "changed" if changed else "before" if i < first else "after"
        matches.append(SpanMatch(f"<{i}>", role, (i, i + 1), (i, i + 1)))
    runs = [SpeechTextSequence(t.cpu(), (kind,) * len(t), ()) for t in (clean, corrupted)]
    return RunPair(name, runs[0], runs[1], tuple(answer), tuple(foil), tuple(matches))
