"""One named piece of data: a sequence to read, and what to call it in tables."""

from dataclasses import dataclass

from slm_lens._pictured import Pictured
from slm_lens.sequence.sequence import SpeechTextSequence


@dataclass(frozen=True, eq=False)
class Utterance(Pictured):
    """A sequence with the name under which its words appear in tables.

    Attributes:
        name: unique within a data set, e.g. the file's stem.
        sequence: what the model reads.
    """

    name: str
    sequence: SpeechTextSequence
