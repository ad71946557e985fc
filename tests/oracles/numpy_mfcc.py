"""MFCC with differences and normalisation in float64: no slm_lens, no torch.

Frames are cut and multiplied with an explicit Fourier matrix; the mel filters are those of
transformers, the cosine transform is scipy's.
"""

import numpy as np
from scipy.fft import dct
from transformers.audio_utils import mel_filter_bank


def mfcc(waveform, *, n_fft=1024, hop=640, n_mels=40, n_cepstra=13, rate_hz=16_000):
    """``[n_frames, 39]``; frame ``i`` is centred on sample ``i * hop``, edges are mirrored."""
    padded = np.pad(np.asarray(waveform, dtype=np.float64), n_fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) / n_fft)
    n_frames = 1 + len(waveform) // hop
    frames = np.stack([padded[i * hop : i * hop + n_fft] * window for i in range(n_frames)])
    power = np.abs(frames @ fourier) ** 2
    filters = mel_filter_bank(
        n_fft // 2 + 1, n_mels, 0.0, rate_hz / 2, rate_hz, norm=None, mel_scale="htk"
    )
    cepstra = np.asarray(dct(np.log(np.maximum(power @ filters, 1e-10)), type=2, norm="ortho"))[
        :, :n_cepstra
    ]
    first = half_difference(cepstra)
    stacked = np.concatenate([cepstra, first, half_difference(first)], axis=1)
    return (stacked - stacked.mean(0)) / np.maximum(stacked.std(0), 1e-5)


def half_difference(rows):
    out = np.empty_like(rows)
    last = len(rows) - 1
    for i in range(len(rows)):
        out[i] = (rows[min(i + 1, last)] - rows[max(i - 1, 0)]) / 2
    return out
