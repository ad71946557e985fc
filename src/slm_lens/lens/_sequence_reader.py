"""Sequences of a fit, one after another without end, from memory or from a stream.

Where a reader is follows from two numbers, the pass and the sequences read in it, so a fit can go
on after an interruption. A digest of the last sequence tells whether they are still the same.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypedDict

import numpy as np

from slm_lens.sequence.sequence import SpeechTextSequence

SequenceSource = (
    Sequence[SpeechTextSequence]
    | Callable[[int], Iterable[SpeechTextSequence]]
    | Iterable[SpeechTextSequence]
)


def refuse_one(sequences: object, caller: str) -> None:
    """Refuse a sequence where several are read: it has a length, and would be taken for a list.

    Args:
        sequences: what was given.
        caller: the public function, to begin messages with.

    Raises:
        TypeError: it is one sequence.
    """
    if isinstance(sequences, SpeechTextSequence):
        raise TypeError(f"{caller}: got one SpeechTextSequence, expected several. Give [sequence].")


class ReaderState(TypedDict):
    """Where a reader is.

    Attributes:
        pass_number: passes completed.
        n_read: sequences read in this one.
        last: digest of the last of them.
    """

    pass_number: int
    n_read: int
    last: str


class SequenceReader:
    """Reads a source again and again, and knows where it is.

    Args:
        source: sequences in memory; a function that gives those of a pass; or an iterable.
        seed: of the order of sequences in memory.

    Raises:
        TypeError: the source is one sequence, or an iterator, which is used up after one pass.
    """

    def __init__(self, source: SequenceSource, seed: int) -> None:
        refuse_one(source, "fit_tuned_lens")
        if isinstance(source, Iterator):
            raise TypeError(
                f"fit_tuned_lens: got sequences as {type(source).__name__}, which can be read once "
                "only, expected a list, something that can be iterated again, or a function of "
                "the number of the pass. Pass the function that makes it."
            )
        self._source, self._seed = source, seed
        self._pass_number = self._n_read = 0
        self._last = ""
        self._ahead = self._from(0)

    @property
    def state(self) -> ReaderState:
        """Where it is."""
        return {"pass_number": self._pass_number, "n_read": self._n_read, "last": self._last}

    def read(self, n: int) -> list[SpeechTextSequence]:
        """The next sequences.

        Args:
            n: how many.

        Returns:
            They; the first ones of a new pass follow the last ones of the one before.
        """
        return [self._next() for _ in range(n)]

    def resume(self, state: ReaderState) -> None:
        """Go to where another reader of the same source was.

        Args:
            state: that reader's.

        Raises:
            ValueError: the last sequence before is another one than then.
        """
        self._pass_number, self._n_read = state["pass_number"], state["n_read"]
        self._last = state["last"]
        if not self._n_read:
            self._ahead = self._from(0)
            return
        self._ahead = self._from(self._n_read - 1)
        before = next(self._ahead, None)
        if before is None or digest([before]) != self._last:
            raise ValueError(
                f"fit_tuned_lens: sequence {self._n_read - 1} of pass {self._pass_number} is not "
                "the one that the interrupted fit read, expected the same sequences in the same "
                "order. Does the stream depend on something besides the number of the pass? If "
                "they are to be others, choose another checkpoint folder."
            )

    def _next(self) -> SpeechTextSequence:
        sequence = next(self._ahead, None)
        if sequence is None and self._n_read:
            self._pass_number, self._n_read = self._pass_number + 1, 0
            self._ahead = self._from(0)
            sequence = next(self._ahead, None)
        if sequence is None:
            raise ValueError(
                f"fit_tuned_lens: got no sequence in pass {self._pass_number}, expected at least "
                "one in every pass."
            )
        self._n_read += 1
        self._last = digest([sequence])
        return sequence

    def _from(self, start: int) -> Iterator[SpeechTextSequence]:
        """The sequences of this pass, without the first ones."""
        source = self._source
        if isinstance(source, Sequence):
            order = np.random.default_rng([self._seed, self._pass_number]).permutation(len(source))
            return (source[i] for i in order[start:].tolist())
        one_pass = source(self._pass_number) if callable(source) else source
        return islice(one_pass, start, None)


def digest(sequences: Iterable[SpeechTextSequence]) -> str:
    """What tells sequences apart.

    Args:
        sequences: any number.

    Returns:
        SHA-256 of their token ids, in hexadecimal.
    """
    whole = hashlib.sha256()
    for sequence in sequences:
        whole.update(sequence.tokens.cpu().numpy().astype("<i8").tobytes() + b"|")
    return whole.hexdigest()
