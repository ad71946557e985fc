"""Sound files in: one mono waveform at the rate that a unit tokenizer expects.

``file -> samples -> mean over channels -> resampled``. Decoding is libsndfile's (WAV, FLAC, OGG and
what else it knows), resampling is soxr's at its ``HQ`` setting (20-bit). A file that cannot be
used whole is refused: libsndfile reads a WAV or OGG file that was cut off as if it were merely
shorter, so `slm_lens.speech._truncation` looks at the bytes first.
"""

from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor

from slm_lens.errors import AudioError
from slm_lens.speech._truncation import check_not_truncated

SILENCE_DBFS = -80.0
"""Peak level under which a clip counts as digital silence: under 4 steps of 16-bit audio."""

_LARGEST_PEAK = 16.0
"""Float audio may pass full scale a little; 16 times (+24 dB) means undivided integers."""

_UNKNOWN_FRAMES = 2**63 - 1
"""What libsndfile says of a FLAC file that states no length, as ffmpeg writes into a pipe."""


def read_audio(
    path: str | Path, *, sample_rate_hz: int, silence_dbfs: float | None = SILENCE_DBFS
) -> Float[Tensor, " n_samples"]:
    """Read a sound file as one mono waveform at the given rate.

    Args:
        path: a WAV, FLAC or OGG file of any sample rate; several channels are averaged.
        sample_rate_hz: sample rate of the result in Hz, e.g. ``tokenizer.sample_rate_hz``.
        silence_dbfs: a clip whose peak after averaging lies under this level (in dB, 0 = full
            scale) is refused as silent; None allows silence.

    Returns:
        Samples in float32, full scale at 1.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut off, or its samples are
            none, not finite, silent or out of scale.
        ValueError: ``sample_rate_hz`` is not positive.

    Source:
        Ours.
    """
    if sample_rate_hz < 1:
        raise ValueError(
            f"read_audio: got sample_rate_hz={sample_rate_hz}, expected a positive rate in Hz. "
            "Take it from the unit tokenizer: `tokenizer.sample_rate_hz`."
        )
    path = Path(path)
    where = f"read_audio: {path}"
    _refuse_unusable(path, where)
    samples, file_rate_hz = _decode(path, where)
    n_channels = samples.shape[1]
    mono = samples.mean(axis=1)
    if n_channels > 1:
        where += f" ({n_channels} channels, averaged)"
    check_waveform(torch.from_numpy(mono), where, silence_dbfs=silence_dbfs)
    resampled = soxr.resample(mono, file_rate_hz, sample_rate_hz, quality="HQ")
    if not len(resampled):
        raise AudioError(
            f"{where}: got {len(mono)} samples at {file_rate_hz} Hz, which is less than one sample "
            f"at {sample_rate_hz} Hz; expected a clip of some length. Is the file cut off?"
        )
    return torch.from_numpy(resampled)


def check_waveform(
    waveform: Shaped[Tensor, "..."], where: str, *, silence_dbfs: float | None = SILENCE_DBFS
) -> None:
    """Refuse samples that no unit tokenizer should see.

    Args:
        waveform: samples of one mono clip, full scale at 1.
        where: what the message begins with: the function or file that the samples came from.
        silence_dbfs: peak level in dB under which the clip is refused as silent; None allows
            silence.

    Raises:
        AudioError: more than one axis, integer samples, no sample, NaN or infinite samples, a
            peak far above full scale, or silence.

    Source:
        Ours.
    """
    if waveform.ndim != 1 or not waveform.is_floating_point():
        raise AudioError(
            f"{where}: got samples of shape {tuple(waveform.shape)} and dtype {waveform.dtype}, "
            "expected one axis of floats. Average the channels; divide 16-bit integers by 32768."
        )
    if waveform.numel() == 0:
        raise AudioError(f"{where}: got 0 samples, expected at least 1. Is the recording empty?")
    n_bad = int((~torch.isfinite(waveform)).sum())
    if n_bad:
        raise AudioError(
            f"{where}: got {n_bad} of {waveform.numel()} samples that are NaN or infinite, "
            "expected finite numbers. Was a division by a zero norm written into the file?"
        )
    peak = float(waveform.abs().max())
    if peak > _LARGEST_PEAK:
        raise AudioError(
            f"{where}: got a peak of {peak:g}, expected full scale at 1. Divide 16-bit samples "
            "that were turned into floats by 32768."
        )
    peak_dbfs = 20 * np.log10(peak) if peak > 0 else -np.inf
    if silence_dbfs is not None and peak_dbfs < silence_dbfs:
        raise AudioError(
            f"{where}: got digital silence (peak {peak_dbfs:.1f} dBFS), expected a peak of at "
            f"least {silence_dbfs:g} dBFS. Is it the right channel? Pass silence_dbfs=None to "
            "allow silence."
        )


def _refuse_unusable(path: Path, where: str) -> None:
    """Refuse what can be told without decoding.

    Raises:
        AudioError: no such file, a folder, an empty file, or one that was cut off.
    """
    if path.is_dir():
        raise AudioError(f"{where}: got a folder, expected a sound file. Name a file in it.")
    if not path.exists():
        raise AudioError(f"{where}: got no such file, expected a sound file. Check the path.")
    if path.stat().st_size == 0:
        raise AudioError(f"{where}: got an empty file (0 bytes), expected sound. Copy it again.")
    check_not_truncated(path, where)


def _decode(path: Path, where: str) -> tuple[Float32[np.ndarray, "n_frames n_channels"], int]:
    """All frames of a file and its sample rate in Hz.

    Raises:
        AudioError: the file cannot be decoded, states no length, or is shorter than it states.
    """
    try:
        with soundfile.SoundFile(path) as file:
            promised, rate_hz = file.frames, file.samplerate
            if promised == _UNKNOWN_FRAMES:
                raise AudioError(
                    f"{where}: got a file that does not state its length, expected one that can "
                    "be checked to be whole. Write it again with `ffmpeg -i FILE out.flac`."
                )
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{where}: got a file that libsndfile cannot decode ({error.error_string}), expected "
            "a whole WAV, FLAC or OGG file. If it is sound, it is damaged, cut off or in another "
            "format: try `ffmpeg -i FILE out.wav`."
        ) from None
    if len(samples) < promised:
        raise AudioError(
            f"{where}: got {len(samples)} frames, expected the {promised} that the header "
            "promises. The file is cut off: copy it again."
        )
    return samples, rate_hz
