"""Sound for the planted model: a level for each unit, and a tokenizer that reads levels.

A frame lasts 1/16 s, a word three frames: 3/16 s, exact in binary, so that no time is rounded.
"""

import json

import numpy as np
import soundfile
from planted import N_UNITS, UNITS_PER_WORD, WORDS

SAMPLE_RATE_HZ, FRAME_RATE_HZ = 16_000, 16.0


class LevelUnits:
    """Unit ``u`` is the level ``(u + 1) / 40``; at a multiple of the frame rate, frames repeat."""

    n_units, sample_rate_hz, dedup = N_UNITS, SAMPLE_RATE_HZ, True

    def __init__(self, frame_rate_hz=FRAME_RATE_HZ):
        self.frame_rate_hz = frame_rate_hz

    def encode(self, waveform):
        from slm_lens.speech.units import Units

        hop = round(SAMPLE_RATE_HZ / self.frame_rate_hz)
        levels = waveform[: waveform.numel() // hop * hop].view(-1, hop).mean(1)
        frames = (levels * 40).round().long() - 1
        return Units.from_frames(frames, frame_rate_hz=self.frame_rate_hz, dedup=True)


def write_planted_clips(folder, clips):
    """A WAV file and its word times for each clip."""
    folder.mkdir(parents=True, exist_ok=True)
    hop, word_s = round(SAMPLE_RATE_HZ / FRAME_RATE_HZ), UNITS_PER_WORD / FRAME_RATE_HZ
    for clip in clips:
        units = [UNITS_PER_WORD * w + j for w in clip.words for j in range(UNITS_PER_WORD)]
        levels = (np.array(units) + 1) / 40
        soundfile.write(
            folder / f"{clip.name}.wav", np.repeat(levels, hop), SAMPLE_RATE_HZ, subtype="PCM_16"
        )
        words = [
            {"word": WORDS[w], "start": word_s * i, "end": word_s * (i + 1)}
            for i, w in enumerate(clip.words)
        ]
        (folder / f"{clip.name}.json").write_text(json.dumps({"word_segments": words}))
    return folder
