"""Units from mel-frequency cepstra and k-means: small, exact, and shipped with the organism.

``waveform -> log-mel -> 13 cepstra + first and second differences -> per-clip mean and variance
normalisation -> nearest of k centroids``. It needs no pretrained encoder, so its units carry more
of the voice than HuBERT's do.

Source: Davis and Mermelstein 1980 (cepstra); Lakhotia et al. 2021, arXiv:2102.01192, section 3
(MFCC + k-means as the baseline unit encoder). The hop of 40 ms matches mHuBERT at 25 Hz.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._atomic import written_atomically
from slm_lens.speech.audio import check_waveform
from slm_lens.speech.centroids import (
    CENTROIDS_FILE,
    load_centroids,
    nearest_centroid,
    save_centroids,
)
from slm_lens.speech.units import Units

_N_FFT, _HOP_LENGTH, _N_MELS, _N_CEPSTRA = 1024, 640, 40, 13
_SAMPLE_RATE_HZ = 16_000
_N_FEATURES = 3 * _N_CEPSTRA


def mfcc_features(
    waveform: Float[Tensor, " n_samples"],
) -> Float[Tensor, "n_frames 39"]:
    """Cepstra of each frame with their first and second differences, normalised over the clip.

    Args:
        waveform: mono samples at 16 kHz.

    Returns:
        13 cepstra, 13 first and 13 second differences a frame; 25 frames a second; each column
        has mean 0 and variance 1 over the clip.

    Raises:
        ValueError: the clip is shorter than two hops.

    Source:
        Davis and Mermelstein 1980; normalisation over the clip as in Kaldi's CMVN.
    """
    if waveform.numel() < 2 * _HOP_LENGTH:
        raise ValueError(
            f"mfcc_features: got {waveform.numel()} samples, expected at least {2 * _HOP_LENGTH} "
            "(two hops at 16 kHz). Is the clip cut, or its rate not 16 kHz?"
        )
    spectrum = torch.stft(
        waveform, _N_FFT, _HOP_LENGTH, window=torch.hann_window(_N_FFT), return_complex=True
    )
    mel = _mel_filters() @ spectrum.abs().square()
    log_mel = mel.clamp_min(1e-10).log()
    cepstra = (_dct_matrix() @ log_mel).T
    first = _difference(cepstra)
    stacked = torch.cat([cepstra, first, _difference(first)], dim=1)
    spread = stacked.std(dim=0, correction=0).clamp_min(1e-5)
    return (stacked - stacked.mean(dim=0)) / spread


class MfccKMeans:
    """The organism's unit tokenizer.

    Attributes:
        centroids: cluster centres in the space of `mfcc_features`.
        dedup: whether `encode` collapses runs of one unit.
    """

    sample_rate_hz: int = _SAMPLE_RATE_HZ
    frame_rate_hz: float = _SAMPLE_RATE_HZ / _HOP_LENGTH

    def __init__(self, centroids: Float[Tensor, "n_units 39"], *, dedup: bool = True) -> None:
        self.centroids = centroids
        self.dedup = dedup
        self.n_units: int = centroids.shape[0]

    def encode(self, waveform: Float[Tensor, " n_samples"]) -> Units:
        """Units of one mono clip at 16 kHz.

        Args:
            waveform: samples in [-1, 1].

        Returns:
            The nearest centroid of every frame, deduplicated if the tokenizer says so. Frame ``i``
            is centred on sample ``i * 640``, so the units last up to one hop longer than the clip.

        Raises:
            AudioError: the samples cannot be used.
            ValueError: the clip is shorter than two hops.
        """  # noqa: DOC502 (raised by the parts)
        check_waveform(waveform, "MfccKMeans.encode", silence_dbfs=None)
        frames = nearest_centroid(mfcc_features(waveform), self.centroids)
        return Units.from_frames(frames, frame_rate_hz=self.frame_rate_hz, dedup=self.dedup)

    def save(self, folder: Path) -> None:
        """Write ``unit_tokenizer.json`` and ``centroids.safetensors``.

        Args:
            folder: an existing folder.
        """
        save_centroids(folder / CENTROIDS_FILE, self.centroids)
        description = {"kind": "mfcc_kmeans", "dedup": self.dedup, "n_units": self.n_units}
        # Last, so that a folder that was left half written is not taken for a tokenizer.
        with written_atomically(folder / "unit_tokenizer.json") as temporary:
            temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def from_folder(cls, folder: Path) -> "MfccKMeans":
        """Read what `save` wrote.

        Args:
            folder: a folder with ``unit_tokenizer.json`` and ``centroids.safetensors``.

        Returns:
            The tokenizer.
        """
        description = json.loads((folder / "unit_tokenizer.json").read_text())
        centroids = load_centroids(folder / CENTROIDS_FILE)
        return cls(centroids, dedup=description["dedup"])


def _mel_filters() -> Float[Tensor, "40 513"]:
    """Triangular filters on the HTK mel scale, 0 to 8 kHz."""
    top_mel = 2595 * math.log10(1 + _SAMPLE_RATE_HZ / 2 / 700)
    corners_hz = 700 * (10 ** (np.linspace(0, top_mel, _N_MELS + 2) / 2595) - 1)
    bins_hz = np.linspace(0, _SAMPLE_RATE_HZ / 2, _N_FFT // 2 + 1)
    rising = (bins_hz - corners_hz[:-2, None]) / np.diff(corners_hz)[:-1, None]
    falling = (corners_hz[2:, None] - bins_hz) / np.diff(corners_hz)[1:, None]
    return torch.from_numpy(np.clip(np.minimum(rising, falling), 0, None)).float()


def _dct_matrix() -> Float[Tensor, "13 40"]:
    """First 13 rows of the orthonormal DCT-II."""
    k, n = np.arange(_N_CEPSTRA)[:, None], np.arange(_N_MELS)[None, :]
    matrix = np.sqrt(2 / _N_MELS) * np.cos(np.pi * k * (2 * n + 1) / (2 * _N_MELS))
    matrix[0] /= np.sqrt(2)
    return torch.from_numpy(matrix).float()


def _difference(frames: Float[Tensor, "n_frames n_cepstra"]) -> Float[Tensor, "n_frames n_cepstra"]:
    """Half the difference of the next and the previous frame; edges repeat."""
    padded = torch.cat([frames[:1], frames, frames[-1:]])
    return (padded[2:] - padded[:-2]) / 2
