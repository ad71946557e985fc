"""The clips of a folder as a model reads them, at its own frame rate or another one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.corpus.folder import clips_of
from slm_lens.model._prompts import spoken_prompt
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.spans import word_unit_spans
from slm_lens.sequence.streams import phonetic_units, stream_times_s
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.alignment_files import read_alignment
from slm_lens.speech.audio import read_audio
from slm_lens.speech.units import Units, UnitTokenizer


@dataclass(frozen=True, eq=False)
class ReadClip:
    """One clip as units and as what a model reads.

    Attributes:
        units: the phonetic stream.
        alignment: words with times.
        utterance: the sequence, named after the clip.
        times_s: start and end of every position in seconds, NaN for markers.
    """

    units: Units
    alignment: Alignment
    utterance: Utterance
    times_s: Float[Tensor, "pos 2"]

    @property
    def name(self) -> str:
        """Name of the clip."""
        return self.utterance.name

    def word_spans(self) -> tuple[tuple[int, int], ...]:
        """Half-open span of each word over `units`, by the slamkit rule."""
        return word_unit_spans(self.units.ends_s.tolist(), self.alignment)


def sounds(
    data: str, sample_rate_hz: int
) -> Iterator[tuple[str, Float[Tensor, " n_samples"], Alignment]]:
    """Name, samples and words of each clip of a folder."""
    for sound, words in clips_of(data):
        waveform = read_audio(sound, sample_rate_hz=sample_rate_hz)
        duration_s = waveform.numel() / sample_rate_hz
        yield sound.stem, waveform, read_alignment(words, clip_duration_s=duration_s)


def read_clips(
    model: HookedSLM, data: str, tokenizer: UnitTokenizer | None = None
) -> Sequence[ReadClip]:
    """All clips in the model's units, or in those of a tokenizer of another rate.

    A model refuses units of another frame rate; here they are meant, so the prompt is built without
    that check.
    """
    made_by = model.unit_tokenizer if tokenizer is None else tokenizer
    clips = []
    for name, waveform, alignment in sounds(data, made_by.sample_rate_hz):
        units = made_by.encode(waveform)
        sequence = (
            model.sequence_from_units(units, alignment)
            if tokenizer is None
            else spoken_prompt(
                units, alignment, model.vocab, model.prompt_format, continue_in=None, chat=False
            )
        )
        times_s = torch.full((len(sequence), 2), torch.nan, dtype=torch.float64)
        spoken = torch.tensor([kind == "speech" for kind in sequence.kinds])
        times_s[spoken] = stream_times_s(units, model.vocab)
        utterance = Utterance(name, sequence)
        clips.append(ReadClip(phonetic_units(units), alignment, utterance, times_s))
    return clips
