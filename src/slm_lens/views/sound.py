"""Sound for pages: compressed bytes that browsers play, and the outline of a waveform."""

from io import BytesIO
from typing import Any, Literal

import numpy as np
import soundfile
from jaxtyping import Float
from torch import Tensor

Codec = Literal["flac", "opus"]
CODECS: dict[Codec, tuple[str, str, str]] = {
    "flac": ("FLAC", "PCM_16", "audio/flac"),
    "opus": ("OGG", "OPUS", "audio/ogg"),
}
"""Format and subtype of libsndfile, and the type that browsers know."""

OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
N_BINS = 1200
"""Steps of a waveform's outline: one for each pixel of a wide page."""


def encoded_sound(
    waveform: Float[Tensor, " n_samples"], sample_rate_hz: int, codec: Codec
) -> bytes:
    """A clip as a file in memory.

    Args:
        waveform: mono samples, full scale at 1; what is louder is cut off there.
        sample_rate_hz: samples per second.
        codec: ``"flac"``, exact to 16 bits, or ``"opus"`` (in Ogg), a sixth of that.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: an unknown codec, or a rate that it does not have.
    """
    if codec not in CODECS or (codec == "opus" and sample_rate_hz not in OPUS_RATES_HZ):
        raise ValueError(
            f"encoded_sound: got codec={codec!r} at {sample_rate_hz} Hz, expected one of "
            f"{tuple(CODECS)}, and for opus one of {OPUS_RATES_HZ} Hz. FLAC takes any up to 48000."
        )
    kind, subtype, _ = CODECS[codec]
    file = BytesIO()
    samples = waveform.numpy().clip(-1, 1)
    try:
        soundfile.write(file, samples, sample_rate_hz, format=kind, subtype=subtype)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"encoded_sound: got {sample_rate_hz} Hz, expected a rate that {codec} has "
            f"({error.error_string}). Resample the clip, to 16000 Hz for example."
        ) from None
    return file.getvalue()


def outline(waveform: Float[Tensor, " n_samples"], n_bins: int = N_BINS) -> np.ndarray:
    """Lowest and highest sample of equal stretches of a clip.

    Args:
        waveform: mono samples.
        n_bins: stretches; fewer for a clip of fewer samples.

    Returns:
        ``[n_bins, 2]``, int8, 127 for the loudest sample of the clip.
    """
    samples = waveform.numpy()
    edges = np.linspace(0, len(samples), min(n_bins, len(samples)) + 1).astype(np.int64)
    low = np.minimum.reduceat(samples, edges[:-1])
    high = np.maximum.reduceat(samples, edges[:-1])
    peak = max(float(np.abs(samples).max()), 1e-9)
    return np.round(np.stack([low, high], 1) / peak * 127).astype(np.int8)


def sound_data(sound: bytes, codec: Codec) -> dict[str, Any]:
    """A file of sound as views send it.

    Args:
        sound: what `encoded_sound` gave.
        codec: likewise.

    Returns:
        Its type and its bytes.
    """
    return {"type": CODECS[codec][2], "bytes": np.frombuffer(sound, dtype=np.uint8)}
