"""Units from mel-frequency cepstra and k-means: small, exact, and shipped with the organism.

``waveform -> log-mel -> 13 cepstra + first and second differences -> per-clip mean and variance
normalisation -> nearest of k centroids``. It needs no pretrained encoder, so its units carry more
of the voice than HuBERT's do.

Source: Davis and Mermelstein 1980 (cepstra); Lakhotia et al. 2021, arXiv:2102.01192, section 3
(MFCC + k-means as the baseline unit encoder). The hop of 40 ms matches mHuBERT at 25 Hz.

Another frame rate changes how often the clip is looked at, and nothing else: the window stays
64 ms and differences stay those of moments 80 ms apart, so that centroids mean the same sounds at
every rate. (Differences of neighbouring frames would be of moments 160 ms apart at 12.5 Hz and 40
ms at 50 Hz.) Frames at 12.5 Hz are every second one of those at 25 Hz, with 16 ms unseen between
windows; at 50 Hz one more stands between two. Mean and variance are then of other frames.
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

_N_FFT, _N_MELS, _N_CEPSTRA = 1024, 40, 13
_SAMPLE_RATE_HZ = 16_000
_N_FEATURES = 3 * _N_CEPSTRA
_DIFFERENCE_SAMPLES = 640  # from a frame to those before and after that its differences are of
_TICK_SAMPLES = 160  # hops are whole multiples of 10 ms


def mfcc_features(
    waveform: Float[Tensor, " n_samples"], *, frame_rate_hz: float = 25.0
) -> Float[Tensor, "n_frames 39"]:
    """Cepstra of each frame with their first and second differences, normalised over the clip.

    Args:
        waveform: mono samples at 16 kHz.
        frame_rate_hz: frames per second; ``100 / n`` for a whole number ``n``, since a hop takes
            whole tens of milliseconds.

    Returns:
        13 cepstra, 13 first and 13 second differences a frame; each column has mean 0 and
        variance 1 over the clip.

    Raises:
        ValueError: the clip is shorter than two hops or one window, or no hop gives this rate.

    Source:
        Davis and Mermelstein 1980; normalisation over the clip as in Kaldi's CMVN.
    """
    hop = _hop_length(frame_rate_hz)
    least = max(2 * hop, _N_FFT)
    if waveform.numel() < least:
        raise ValueError(
            f"mfcc_features: got {waveform.numel()} samples, expected at least {least} "
            "(two hops and one window at 16 kHz). Is the clip cut, or its rate not 16 kHz?"
        )
    fine = math.gcd(hop, _DIFFERENCE_SAMPLES)
    spectrum = torch.stft(
        waveform, _N_FFT, fine, window=torch.hann_window(_N_FFT), return_complex=True
    )
    mel = _mel_filters() @ spectrum.abs().square()
    log_mel = mel.clamp_min(1e-10).log()
    cepstra = (_dct_matrix() @ log_mel).T
    apart = _DIFFERENCE_SAMPLES // fine
    first = _difference(cepstra, apart)
    stacked = torch.cat([cepstra, first, _difference(first, apart)], dim=1)[:: hop // fine]
    spread = stacked.std(dim=0, correction=0).clamp_min(1e-5)
    return (stacked - stacked.mean(dim=0)) / spread


class MfccKMeans:
    """The organism's unit tokenizer.

    Attributes:
        centroids: cluster centres in the space of `mfcc_features`.
        dedup: whether `encode` collapses runs of one unit.
        frame_rate_hz: frames per second, 25 unless another rate is given.

    Raises:
        ValueError: no hop gives this frame rate.
    """

    sample_rate_hz: int = _SAMPLE_RATE_HZ
    frame_rate_hz: float = 25.0

    def __init__(
        self,
        centroids: Float[Tensor, "n_units 39"],
        *,
        dedup: bool = True,
        frame_rate_hz: float = 25.0,
    ) -> None:
        _hop_length(frame_rate_hz)
        self.centroids = centroids
        self.dedup = dedup
        self.frame_rate_hz = frame_rate_hz
        self.n_units: int = centroids.shape[0]

    def encode(self, waveform: Float[Tensor, " n_samples"]) -> Units:
        """Units of one mono clip at 16 kHz.

        Args:
            waveform: samples in [-1, 1].

        Returns:
            The nearest centroid of every frame, deduplicated if the tokenizer says so. Frame ``i``
            is centred on ``i`` hops (640 samples at 25 Hz), so the units last up to one hop longer
            than the clip.

        Raises:
            AudioError: the samples cannot be used.
            ValueError: the clip is shorter than two hops or one window.
        """  # noqa: DOC502 (raised by the parts)
        check_waveform(waveform, "MfccKMeans.encode", silence_dbfs=None)
        features = mfcc_features(waveform, frame_rate_hz=self.frame_rate_hz)
        frames = nearest_centroid(features, self.centroids)
        return Units.from_frames(frames, frame_rate_hz=self.frame_rate_hz, dedup=self.dedup)

    def at_rate(self, frame_rate_hz: float) -> "MfccKMeans":
        """The same centroids at another frame rate.

        A model that was trained on units of one rate has never read those of another: what it
        makes of them is a test under a shift of its input.

        Args:
            frame_rate_hz: frames per second, as in `mfcc_features`.

        Returns:
            Another tokenizer.
        """
        return MfccKMeans(self.centroids, dedup=self.dedup, frame_rate_hz=frame_rate_hz)

    def save(self, folder: Path) -> None:
        """Write ``unit_tokenizer.json`` and ``centroids.safetensors``.

        Args:
            folder: an existing folder.
        """
        save_centroids(folder / CENTROIDS_FILE, self.centroids)
        description = {
            "kind": "mfcc_kmeans",
            "dedup": self.dedup,
            "n_units": self.n_units,
            "frame_rate_hz": self.frame_rate_hz,
        }
        # Last, so that a folder that was left half written is not taken for a tokenizer.
        with written_atomically(folder / "unit_tokenizer.json") as temporary:
            temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def from_folder(cls, folder: Path) -> "MfccKMeans":
        """Read what `save` wrote.

        Args:
            folder: a folder with ``unit_tokenizer.json`` and ``centroids.safetensors``. A file
                that names no frame rate is from when there was one, 25 Hz.

        Returns:
            The tokenizer.
        """
        description = json.loads((folder / "unit_tokenizer.json").read_text())
        centroids = load_centroids(folder / CENTROIDS_FILE)
        rate_hz = float(description.get("frame_rate_hz", cls.frame_rate_hz))
        return cls(centroids, dedup=description["dedup"], frame_rate_hz=rate_hz)


def _hop_length(frame_rate_hz: float) -> int:
    """Samples from one frame to the next.

    Raises:
        ValueError: they are no whole number of tens of milliseconds.
    """
    ticks = _SAMPLE_RATE_HZ / _TICK_SAMPLES / frame_rate_hz if frame_rate_hz > 0 else 0.0
    if round(ticks) < 1 or abs(ticks - round(ticks)) > 1e-6:
        raise ValueError(
            f"mfcc_features: got frame_rate_hz={frame_rate_hz}, expected 100 / n for a whole "
            "number n, such as 12.5, 25 or 50: a hop takes whole tens of milliseconds."
        )
    return round(ticks) * _TICK_SAMPLES


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


def _difference(
    frames: Float[Tensor, "n_frames n_cepstra"], apart: int
) -> Float[Tensor, "n_frames n_cepstra"]:
    """Half the difference of the frames some places after and before; edges repeat."""
    padded = torch.cat([frames[:1]] * apart + [frames] + [frames[-1:]] * apart)
    return (padded[2 * apart :] - padded[: -2 * apart]) / 2
