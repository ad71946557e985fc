"""MFCC with differences and normalisation in float64: no slm_lens, no torch.

Frames are cut and multiplied with an explicit Fourier matrix; the mel filters are those of
transformers, the cosine transform is scipy's.
"""

import numpy as np
from scipy.fft import dct
from transformers.audio_utils import mel_filter_bank


def mfcc(waveform, *, hop=640, **sizes):
    """``[n_frames, 39]``; frame ``i`` is centred on sample ``i * hop``, edges are mirrored.

    Differences are of cepstra 640 samples before and after, whatever the hop; at the edges, of the
    first and the last moment on the grid of the largest common divisor of both.
    """
    fine = int(np.gcd(hop, 640))
    cepstra = cepstra_every(waveform, fine, **sizes)
    first = half_difference(cepstra, 640 // fine)
    stacked = np.concatenate([cepstra, first, half_difference(first, 640 // fine)], axis=1)
    stacked = stacked[[i for i in range(len(stacked)) if i * fine % hop == 0]]
    return (stacked - stacked.mean(0)) / np.maximum(stacked.std(0), 1e-5)


def cepstra_every(waveform, hop, *, n_fft=1024, n_mels=40, n_cepstra=13, rate_hz=16_000):
    padded = np.pad(np.asarray(waveform, dtype=np.float64), n_fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) / n_fft)
    n_frames = 1 + len(waveform) // hop
    frames = np.stack([padded[i * hop : i * hop + n_fft] * window for i in range(n_frames)])
    power = np.abs(frames @ fourier) ** 2
    filters = mel_filter_bank(
        n_fft // 2 + 1, n_mels, 0.0, rate_hz / 2, rate_hz, norm=None, mel_scale="htk"
    )
    log_mel = np.log(np.maximum(power @ filters, 1e-10))
    return np.asarray(dct(log_mel, type=2, norm="ortho"))[:, :n_cepstra]


def half_difference(rows, apart):
    out = np.empty_like(rows)
    last = len(rows) - 1
    for i in range(len(rows)):
        out[i] = (rows[min(i + apart, last)] - rows[max(i - apart, 0)]) / 2
    return out
