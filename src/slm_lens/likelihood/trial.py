"""Two sequences of which a model should find the right one likelier."""

from dataclasses import dataclass
from typing import Literal, get_args

from slm_lens.sequence.sequence import SpeechTextSequence

Side = Literal["right", "wrong"]
SIDES: tuple[Side, ...] = get_args(Side)

Region = Literal["all", "completion"]
REGIONS: tuple[Region, ...] = get_args(Region)


@dataclass(frozen=True, eq=False)
class Trial:
    """A right and a wrong sequence: a word and a pseudo-word, a story with two endings.

    Others say positive and negative (ZeroSpeech, slamkit), or correct and counterfactual.

    Attributes:
        name: unique in a set of trials.
        part: which part of a benchmark it belongs to, such as SALMon's ``"speaker_consistency"``;
            may be empty.
        right: the sequence that should be likelier.
        wrong: the other one.
        right_start: first position of the completion in `right`, which goes to the end of the
            sequence; None where no completion is known, and the whole is scored.
        wrong_start: the same of `wrong`; None with `right_start`, and only then.

    Raises:
        ValueError: a sequence of one token, a completion of one side alone, or one that starts at
            the first token or after the last one.
    """

    name: str
    part: str
    right: SpeechTextSequence
    wrong: SpeechTextSequence
    right_start: int | None = None
    wrong_start: int | None = None

    def __post_init__(self) -> None:
        if (self.right_start is None) != (self.wrong_start is None):
            raise ValueError(
                f"Trial {self.name!r}: got right_start={self.right_start} and "
                f"wrong_start={self.wrong_start}, expected both or none."
            )
        for side in SIDES:
            sequence, start = self.of(side)
            if len(sequence) < 2:
                raise ValueError(
                    f"Trial {self.name!r}: got a {side} sequence of 1 token, expected at least 2: "
                    "the first one is never scored."
                )
            if start is not None and not 1 <= start < len(sequence):
                raise ValueError(
                    f"Trial {self.name!r}: got {side}_start={start}, expected 1 <= start < "
                    f"{len(sequence)}. The first token is never scored; without a prompt, leave "
                    "both starts at None."
                )

    def of(self, side: Side) -> tuple[SpeechTextSequence, int | None]:
        """One side.

        Args:
            side: ``"right"`` or ``"wrong"``.

        Returns:
            Its sequence, and the first position of its completion.
        """
        if side == "right":
            return self.right, self.right_start
        return self.wrong, self.wrong_start
