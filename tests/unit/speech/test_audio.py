"""Sound files: what is read, and what is refused with which words."""

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from slm_lens.errors import AudioError
from slm_lens.speech.audio import check_waveform, decode_audio, read_audio


def sine(rate_hz: int, *, freq_hz: float = 440.0, duration_s: float = 1.0, amplitude: float = 0.5):
    t_s = np.arange(int(rate_hz * duration_s)) / rate_hz
    return amplitude * np.sin(2 * np.pi * freq_hz * t_s)


def cut(path: Path, n_bytes: int) -> Path:
    """The same file without its last bytes."""
    short = path.with_name("cut" + path.suffix)
    short.write_bytes(path.read_bytes()[:-n_bytes])
    return short


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "PCM_16"), ("a.wav", "FLOAT"), ("a.flac", "PCM_24"), ("a.ogg", "VORBIS")],
)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_any_format_and_rate_gives_the_same_sine(tmp_path, name, subtype, rate_hz):
    soundfile.write(tmp_path / name, sine(rate_hz), rate_hz, subtype=subtype)
    waveform = read_audio(tmp_path / name, sample_rate_hz=16_000)
    assert waveform.dtype == torch.float32
    assert abs(len(waveform) - 16_000) <= 1
    # The sine itself at 16 kHz, away from the edges where the resampling filter starts; lossless
    # files came within 1e-4, Vorbis at its default quality within 0.02.
    inner = slice(1_000, 15_000)
    tolerance = 0.03 if name.endswith("ogg") else 3e-4
    assert np.abs(waveform.numpy()[inner] - sine(16_000)[inner]).max() < tolerance


def test_channels_are_averaged(tmp_path):
    left, right = np.full(100, 0.5), np.full(100, -0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav", sample_rate_hz=16_000).tolist() == [0.125] * 100


def test_what_is_no_sound_file_is_named(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "words.wav").write_text("these are words, not sound")
    for name, message in {
        "absent.wav": "got no such file",
        ".": "got a folder, expected a sound file",
        "empty.wav": r"got an empty file \(0 bytes\)",
        "words.wav": "libsndfile cannot decode",
    }.items():
        with pytest.raises(AudioError, match=message):
            read_audio(tmp_path / name, sample_rate_hz=16_000)


@pytest.mark.parametrize("n_bytes", [1, 101, 3_000])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.wav", "bytes of sound, expected the 32000 that the WAV header promises"),
        ("a.flac", "libsndfile cannot decode"),
        ("a.ogg", "OGG file whose last page is cut off"),
    ],
)
def test_a_file_that_was_cut_off_is_refused(tmp_path, name, message, n_bytes):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16_000)
    soundfile.write(tmp_path / name, noise, 16_000)
    with pytest.raises(AudioError, match=message):
        read_audio(cut(tmp_path / name, n_bytes), sample_rate_hz=16_000)


def test_an_ogg_file_cut_between_two_pages_is_refused(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 160_000)
    soundfile.write(tmp_path / "a.ogg", noise, 16_000)
    last_page = (tmp_path / "a.ogg").read_bytes().rfind(b"OggS")
    short = cut(tmp_path / "a.ogg", (tmp_path / "a.ogg").stat().st_size - last_page)
    assert soundfile.info(short).frames < 160_000  # libsndfile alone would not have said a word
    with pytest.raises(AudioError, match="no end-of-stream mark"):
        read_audio(short, sample_rate_hz=16_000)


def test_a_compressed_file_with_fewer_frames_than_promised_is_refused(tmp_path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, sine(16_000, duration_s=3), 16_000, format="MP3")
    assert len(read_audio(path, sample_rate_hz=16_000)) == 48_000
    with pytest.raises(AudioError, match=r"frames, expected the 48000 that the header promises"):
        read_audio(cut(path, path.stat().st_size // 2), sample_rate_hz=16_000)


@pytest.mark.parametrize("format_name", ["RF64", "WAV"])
def test_odd_but_whole_wav_files_are_read(tmp_path, format_name):
    """64-bit sizes, and a chunk of odd size before the sound (padded to an even position)."""
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(16_000), 16_000, format=format_name, subtype="PCM_16")
    content = path.read_bytes()
    if format_name == "WAV":
        at = content.index(b"data")
        content = content[:at] + b"LIST" + struct.pack("<I", 5) + b"INFOx\0" + content[at:]
        content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
        path.write_bytes(content)
    assert len(read_audio(path, sample_rate_hz=16_000)) == 16_000
    with pytest.raises(AudioError, match="got 31998 bytes of sound, expected the 32000"):
        read_audio(cut(path, 2), sample_rate_hz=16_000)


def test_big_endian_wav_sizes_are_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(16_000), 16_000, subtype="PCM_16", endian="BIG")
    assert path.read_bytes()[:4] == b"RIFX"
    assert len(read_audio(path, sample_rate_hz=16_000)) == 16_000


def test_a_wav_file_from_a_pipe_promises_no_length_and_is_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(16_000), 16_000, subtype="PCM_16")
    wav = bytearray((tmp_path / "a.wav").read_bytes())
    at = wav.index(b"data") + 4
    wav[at : at + 4] = b"\xff" * 4
    (tmp_path / "a.wav").write_bytes(wav)
    assert len(read_audio(tmp_path / "a.wav", sample_rate_hz=16_000)) == 16_000


def test_a_flac_file_from_a_pipe_is_refused_with_the_way_out(tmp_path):
    soundfile.write(tmp_path / "a.flac", sine(16_000), 16_000)
    flac = bytearray((tmp_path / "a.flac").read_bytes())
    flac[21] &= 0xF0  # STREAMINFO: 36 bits of total samples, 0 = unknown (RFC 9639, 8.2)
    flac[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(flac)
    with pytest.raises(AudioError, match=r"does not state its length.*ffmpeg -i FILE out.flac"):
        read_audio(tmp_path / "a.flac", sample_rate_hz=16_000)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "got 0 samples"),
        ([0.1, np.nan, np.inf, 0.2], "got 2 of 4 samples that are NaN or infinite"),
        ([0.0] * 400, r"digital silence \(peak -inf dBFS\)"),
        ([0.00009] * 400, r"digital silence \(peak -80.9 dBFS\), expected .* at least -80 dBFS"),
        ([12_000.0, -20_000.0], r"got a peak of 20000, expected full scale at 1"),
    ],
)
def test_samples_that_cannot_be_used_are_named(tmp_path, samples, message):
    soundfile.write(tmp_path / "a.wav", np.array(samples), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=re.escape(str(tmp_path / "a.wav")) + ".*" + message):
        read_audio(tmp_path / "a.wav", sample_rate_hz=16_000)


def test_the_silence_threshold_is_an_argument(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(400, 0.05), 16_000, subtype="FLOAT")  # -26 dBFS
    assert len(read_audio(tmp_path / "a.wav", sample_rate_hz=16_000)) == 400
    with pytest.raises(AudioError, match="silence"):
        read_audio(tmp_path / "a.wav", sample_rate_hz=16_000, silence_dbfs=-20.0)
    soundfile.write(tmp_path / "b.wav", np.zeros(400), 16_000)
    assert not read_audio(tmp_path / "b.wav", sample_rate_hz=16_000, silence_dbfs=None).any()


def test_channels_that_cancel_are_silence_and_the_message_says_why(tmp_path):
    both = np.stack([sine(16_000), -sine(16_000)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"2 channels, averaged.*digital silence"):
        read_audio(tmp_path / "a.wav", sample_rate_hz=16_000)


def test_a_clip_shorter_than_one_sample_of_the_result_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5]), 48_000)
    with pytest.raises(AudioError, match=r"got 1 samples at 48000 Hz.*one sample at 16000 Hz"):
        read_audio(tmp_path / "a.wav", sample_rate_hz=16_000)


def test_a_rate_that_is_not_positive_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got sample_rate_hz=0, expected a positive rate"):
        read_audio(tmp_path / "a.wav", sample_rate_hz=0)


def test_a_waveform_is_one_axis_of_floats():
    check_waveform(torch.tensor([0.1, -0.2]), "here")
    with pytest.raises(AudioError, match=r"here: got samples of shape \(1, 2\)"):
        check_waveform(torch.tensor([[0.1, -0.2]]), "here")
    with pytest.raises(AudioError, match=r"torch.int16, expected one axis of floats.*32768"):
        check_waveform(torch.tensor([100, -200], dtype=torch.int16), "here")


def test_a_clip_that_is_too_long_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(8000 * 600, dtype=np.int16), 8000)
    with pytest.raises(AudioError, match=r"a clip of 600\.0 s, expected at most 60 s"):
        read_audio(path, sample_rate_hz=16_000, max_duration_s=60.0)
    fast = tmp_path / "b.wav"
    soundfile.write(fast, np.ones(1000) / 2, 400_000)
    with pytest.raises(AudioError, match="a sample rate of 400000 Hz, expected at most 384000"):
        read_audio(fast, sample_rate_hz=16_000, max_duration_s=60.0)


def test_sound_from_memory_is_that_of_the_file(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([sine(16_000, duration_s=1)] * 2, 1), 16_000)
    from_file = read_audio(path, sample_rate_hz=8000)
    from_memory = decode_audio(path.read_bytes(), name="a", sample_rate_hz=8000)
    assert torch.equal(from_file, from_memory)
    with pytest.raises(AudioError, match="decode_audio: x: got 0 bytes"):
        decode_audio(b"", name="x", sample_rate_hz=8000)
    with pytest.raises(AudioError, match=r"decode_audio: x: .*cut off"):
        decode_audio(path.read_bytes()[:-99], name="x", sample_rate_hz=8000)
    with pytest.raises(ValueError, match="decode_audio: got sample_rate_hz=0"):
        decode_audio(b"x", name="x", sample_rate_hz=0)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="got a pipe or device"):
        read_audio(tmp_path / "a.wav", sample_rate_hz=8000)


def test_samples_without_a_header_are_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(AudioError, match="got samples without a header"):
        read_audio(tmp_path / "a.raw", sample_rate_hz=8000)


def test_a_rate_that_no_speech_has_is_refused(tmp_path):
    """At 1 Hz, 40 kB of samples would be a gigabyte at 16 kHz."""
    soundfile.write(tmp_path / "a.wav", sine(8000), 999)
    with pytest.raises(AudioError, match="a sample rate of 999 Hz, expected at least 1000 Hz"):
        read_audio(tmp_path / "a.wav", sample_rate_hz=16_000)
    soundfile.write(tmp_path / "a.wav", sine(8000), 1000)
    assert len(read_audio(tmp_path / "a.wav", sample_rate_hz=2000)) == 16_000


@pytest.mark.parametrize("n_frames", [1 << 60, 1 << 62])
def test_a_length_that_no_memory_holds_is_refused(tmp_path, monkeypatch, n_frames):
    """OGG counts them in 64 bits; numpy: MemoryError of the first, ValueError of the second."""
    soundfile.write(tmp_path / "a.flac", sine(8000), 8000)
    monkeypatch.setattr(soundfile.SoundFile, "frames", n_frames)
    with pytest.raises(AudioError, match=f"states {n_frames} frames, which no memory holds"):
        read_audio(tmp_path / "a.flac", sample_rate_hz=8000)


def test_infinite_samples_of_two_channels_are_told_once(tmp_path):
    both = np.array([[np.inf, -np.inf]] * 9, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", both, 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"\(2 channels, averaged\): got 9 of 9 samples"):
        read_audio(tmp_path / "a.wav", sample_rate_hz=8000)
