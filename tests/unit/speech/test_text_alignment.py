import numpy as np
import pytest
import torch

from slm_lens.corpus.folder import clips_of
from slm_lens.errors import AlignmentError, AudioError
from slm_lens.speech.alignment_files import read_alignment
from slm_lens.speech.audio import read_audio
from slm_lens.speech.text_alignment import align_text


@pytest.mark.parametrize("number", [0, 2, 5])
def test_words_of_a_held_out_clip_are_found(number):
    # In other voices and with pauses; medians of single clips are 3 to 25 ms.
    sound, words = clips_of("held-out")[number]
    waveform, true = read_audio(sound, sample_rate_hz=16_000), read_alignment(words)
    found = align_text(waveform, " ".join(w.word for w in true), sample_rate_hz=16_000)
    assert [w.word for w in found] == [w.word for w in true]
    starts = [abs(a.start_s - b.start_s) for a, b in zip(found, true, strict=True)]
    assert np.median(starts) < 0.04
    assert found.words[-1].end_s <= len(waveform) / 16_000


def test_another_text_is_refused_by_its_length():
    waveform = torch.randn(16_000 * 8)
    with pytest.raises(AlignmentError, match=r"got a clip of 8.0 s for a text that lasts about"):
        align_text(waveform, "yes", sample_rate_hz=16_000)


def test_silence_is_refused():
    with pytest.raises(AudioError, match="align_text: got digital silence"):
        align_text(torch.zeros(16_000), "the zebra", sample_rate_hz=16_000)
