"""Sound files in: one mono waveform at the rate that a unit tokenizer expects.

``file -> samples -> mean over channels -> resampled``. Decoding is libsndfile's (WAV, FLAC, OGG and
what else it knows), resampling is soxr's at its ``HQ`` setting (20-bit). A file that cannot be
used whole is refused: libsndfile reads a WAV or OGG file that was cut off as if it were merely
shorter, so `slm_lens.speech._truncation` looks at the bytes first.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor

from slm_lens.errors import AudioError
from slm_lens.speech._truncation import SoundFileBytes, check_not_truncated

SILENCE_DBFS = -80.0
"""Peak level under which a clip counts as digital silence: under 4 steps of 16-bit audio."""

_LARGEST_PEAK = 16.0
"""Float audio may pass full scale a little; 16 times (+24 dB) means undivided integers."""

_BLOCK_SAMPLES = 1 << 20
"""Samples of all channels that are decoded at once, so that channels multiply no memory."""

LARGEST_RATE_HZ = 384_000
"""Sample rate up to which a clip whose length is limited is decoded."""

SMALLEST_RATE_HZ = 1000
"""Sample rate from which a clip is taken for speech. Resampled from 1 Hz, a small file is large."""

_UNKNOWN_FRAMES = 2**63 - 1
"""What libsndfile says of a FLAC file that states no length, as ffmpeg writes into a pipe."""


def read_audio(
    path: str | Path,
    *,
    sample_rate_hz: int,
    silence_dbfs: float | None = SILENCE_DBFS,
    max_duration_s: float | None = None,
) -> Float[Tensor, " n_samples"]:
    """Read a sound file as one mono waveform at the given rate.

    Args:
        path: a WAV, FLAC or OGG file of any sample rate; several channels are averaged.
        sample_rate_hz: sample rate of the result in Hz, e.g. ``tokenizer.sample_rate_hz``.
        silence_dbfs: a clip whose peak after averaging lies under this level (in dB, 0 = full
            scale) is refused as silent; None allows silence.
        max_duration_s: a clip that states to be longer is refused before it is decoded; None for
            any length.

    Returns:
        Samples in float32, full scale at 1.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut off, too long, or its
            samples are none, not finite, silent or out of scale.
        ValueError: ``sample_rate_hz`` is not positive.

    Source:
        Ours.
    """  # noqa: DOC502 (raised by the parts)
    _check_rate(sample_rate_hz, "read_audio")
    path = Path(path)
    where = f"read_audio: {path}"
    _refuse_unusable(path, where)
    return _waveform(lambda: path.open("rb"), where, sample_rate_hz, silence_dbfs, max_duration_s)


def decode_audio(
    content: bytes,
    *,
    name: str,
    sample_rate_hz: int,
    silence_dbfs: float | None = SILENCE_DBFS,
    max_duration_s: float | None = None,
) -> Float[Tensor, " n_samples"]:
    """The same for a sound file in memory, such as an audio column of a table holds.

    Args:
        content: the file's bytes.
        name: what to call it in messages.
        sample_rate_hz: as in `read_audio`.
        silence_dbfs: as in `read_audio`.
        max_duration_s: as in `read_audio`.

    Returns:
        Samples in float32, full scale at 1.

    Raises:
        AudioError: as in `read_audio`.
        ValueError: ``sample_rate_hz`` is not positive.
    """  # noqa: DOC502 (ValueError is raised by the helper)
    _check_rate(sample_rate_hz, "decode_audio")
    where = f"decode_audio: {name}"
    if not content:
        raise AudioError(f"{where}: got 0 bytes, expected a sound file. Copy it again.")
    return _waveform(
        lambda: io.BytesIO(content), where, sample_rate_hz, silence_dbfs, max_duration_s
    )


def _waveform(
    opened: Callable[[], SoundFileBytes],
    where: str,
    sample_rate_hz: int,
    silence_dbfs: float | None,
    max_duration_s: float | None,
) -> Float[Tensor, " n_samples"]:
    """One mono waveform of a sound file.

    Raises:
        AudioError: it cannot be used.
    """
    with opened() as file:
        check_not_truncated(file, where)
        file.seek(0)
        mono, n_channels, file_rate_hz = _decode(file, where, max_duration_s)
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


def _check_rate(sample_rate_hz: int, caller: str) -> None:
    """Refuse a rate that is none.

    Raises:
        ValueError: it is not positive.
    """
    if sample_rate_hz < 1:
        raise ValueError(
            f"{caller}: got sample_rate_hz={sample_rate_hz}, expected a positive rate in Hz. "
            "Take it from the unit tokenizer: `tokenizer.sample_rate_hz`."
        )


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
        AudioError: no such file, a folder, something else that is no file, samples without a
            header, or an empty file.
    """
    if path.is_dir():
        raise AudioError(f"{where}: got a folder, expected a sound file. Name a file in it.")
    if not path.exists():
        raise AudioError(f"{where}: got no such file, expected a sound file. Check the path.")
    if not path.is_file():  # a pipe would be waited for
        raise AudioError(f"{where}: got a pipe or device, expected a sound file. Copy it first.")
    if path.suffix.casefold() == ".raw":  # soundfile asks for their rate, whatever they hold
        raise AudioError(
            f"{where}: got samples without a header, expected a sound file that states its sample "
            "rate. Write a .wav with `ffmpeg`, or rename it if it is one."
        )
    if path.stat().st_size == 0:
        raise AudioError(f"{where}: got an empty file (0 bytes), expected sound. Copy it again.")


def _decode(
    source: SoundFileBytes, where: str, max_duration_s: float | None
) -> tuple[Float32[np.ndarray, " n_frames"], int, int]:
    """The mean over channels, their number, and the sample rate in Hz.

    Raises:
        AudioError: the file cannot be decoded, states no length, is longer than it may be, or
            shorter than it states.
    """
    try:
        with soundfile.SoundFile(source) as file:
            promised, rate_hz, n_channels = file.frames, file.samplerate, file.channels
            if promised == _UNKNOWN_FRAMES:
                raise AudioError(
                    f"{where}: got a file that does not state its length, expected one that can "
                    "be checked to be whole. Write it again with `ffmpeg -i FILE out.flac`."
                )
            _refuse_long(promised, rate_hz, where, max_duration_s)
            mono, n_read = _room(promised, where), 0
            while n_read < promised:
                some = min(promised - n_read, max(1, _BLOCK_SAMPLES // n_channels))
                block = file.read(some, dtype="float32", always_2d=True)
                if not len(block):
                    break
                with np.errstate(invalid="ignore", over="ignore"):  # told by check_waveform
                    mono[n_read : n_read + len(block)] = block.mean(axis=1)
                n_read += len(block)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{where}: got a file that libsndfile cannot decode ({error.error_string}), expected "
            "a whole WAV, FLAC or OGG file. If it is sound, it is damaged, cut off or in another "
            "format: try `ffmpeg -i FILE out.wav`."
        ) from None
    if n_read < promised:
        raise AudioError(
            f"{where}: got {n_read} frames, expected the {promised} that the header "
            "promises. The file is cut off: copy it again."
        )
    return mono, n_channels, rate_hz


def _room(n_frames: int, where: str) -> Float32[np.ndarray, " n_frames"]:
    """Room for as many frames as a header states.

    Raises:
        AudioError: no memory holds them.
    """
    try:
        return np.zeros(n_frames, dtype=np.float32)
    except (MemoryError, ValueError):
        raise AudioError(
            f"{where}: got a file that states {n_frames} frames, which no memory holds, expected a "
            "clip. Is the header damaged? Pass max_duration_s to refuse such files by length."
        ) from None


def _refuse_long(n_frames: int, rate_hz: int, where: str, max_duration_s: float | None) -> None:
    """Refuse a clip by what its header states, before anything is decoded.

    Raises:
        AudioError: it is longer, or has a higher rate, than may be decoded.
    """
    if rate_hz < SMALLEST_RATE_HZ:
        raise AudioError(
            f"{where}: got a sample rate of {rate_hz} Hz, expected at least {SMALLEST_RATE_HZ} Hz, "
            "which speech needs. Is the header damaged?"
        )
    if max_duration_s is None:
        return
    if n_frames > max_duration_s * rate_hz:
        raise AudioError(
            f"{where}: got a clip of {n_frames / rate_hz:.1f} s, expected at most "
            f"{max_duration_s:g} s. Cut it into utterances, or raise the limit."
        )
    if rate_hz > LARGEST_RATE_HZ:
        raise AudioError(
            f"{where}: got a sample rate of {rate_hz} Hz, expected at most {LARGEST_RATE_HZ} Hz. "
            "Is the header damaged? If not, resample it first."
        )
