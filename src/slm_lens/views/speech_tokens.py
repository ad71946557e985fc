"""What a model reads, as a strip: units small under their words, written words as they are."""

from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.units import Units
from slm_lens.views.page import View
from slm_lens.views.tokens import described_positions
from slm_lens.vocab import SpeechTextVocab


def speech_tokens(
    sequence: SpeechTextSequence,
    vocab: SpeechTextVocab | None = None,
    *,
    units: Units | None = None,
    phones: Alignment | None = None,
    title: str = "What the model reads",
    utterance: str | None = None,
) -> View:
    """A strip of all positions: units by word with times, written words, markers.

    Pointing at a unit, or moving to it with the arrow keys, tells its position, number, time and
    phoneme where they are known; a click selects its word in every view of the utterance and plays
    it, where the page has the sound.

    Args:
        sequence: what the model reads.
        vocab: the model's vocabulary; without it token ids stand for units and pieces of words.
        units: the units that the sequence was made from, for the time of each one.
        phones: phonemes of the clip with their times (`read_alignment` of a tier of phones).
        title: heading.
        utterance: name that views of one utterance share on a page.

    Returns:
        The view.

    Raises:
        ValueError: the units are not those of the sequence, or phonemes come without units.
    """  # noqa: DOC502 (raised by described_positions)
    n_units = sum(kind == "speech" for kind in sequence.kinds)
    return View(
        kind="speech_tokens",
        data=described_positions(sequence, vocab, units=units, phones=phones),
        title=title,
        description=(
            f"{len(sequence)} positions, {n_units} of them speech tokens, grouped under "
            f"{len(sequence.words)} words in the order in which the model reads them."
        ),
        utterance=utterance,
        scripts=("tokens",),
    )
