import numpy as np
import pytest
import soundfile

from slm_lens.app.limits import Limits
from slm_lens.errors import AudioError


def sine(path, *, seconds=1.0, rate_hz=8000, channels=1, **options):
    wave = 0.1 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate_hz)) / rate_hz)
    soundfile.write(path, np.tile(wave[:, None], (1, channels)), rate_hz, **options)
    return path


def test_a_limit_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="expected every limit to be positive"):
        Limits(max_seconds=0.0)


def test_text_comes_on_one_line():
    assert Limits().text("  the zebra\n lives\tin the ") == "the zebra lives in the"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("   ", "got a text of 0 characters.*Type a sentence"),
        ("a" * 401, "got a text of 401 characters, expected 1 to 400. Shorten it"),
        ("the\x00zebra", r"got the characters \['U\+0000'\], expected ones that can be printed"),
        ("the \u202ezebra", r"got the characters \['U\+202E'\]"),
    ],
)
def test_text_that_cannot_be_used_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Limits().text(given)


def test_a_clip_within_the_limits_passes(tmp_path):
    Limits().file(sine(tmp_path / "clip.wav"))
    Limits().file(sine(tmp_path / "clip.FLAC", format="FLAC"))


def test_a_long_clip_is_refused_from_its_header(tmp_path):
    # 40 s of FLAC are small: the length has to be looked at, and not the size.
    path = sine(tmp_path / "long.flac", seconds=40)
    with pytest.raises(AudioError, match=r"got 40.0 s of sound, expected at most 30 s"):
        Limits().file(path)


def test_a_large_file_is_refused_by_its_size(tmp_path):
    path = sine(tmp_path / "large.wav")
    with pytest.raises(AudioError, match=r"got a file of 0.0 MB, expected at most 0.001 MB"):
        Limits(max_bytes=1000).file(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "clip.mp3").write_bytes(b"ID3")
    with pytest.raises(AudioError, match=r"ending in '.mp3', expected one of"):
        Limits().file(tmp_path / "clip.mp3")
    (tmp_path / "clip.wav").write_bytes(b"no sound at all")
    with pytest.raises(AudioError, match="cannot be read as sound"):
        Limits().file(tmp_path / "clip.wav")
    with pytest.raises(AudioError, match="got 9 channels, expected at most 8"):
        Limits().file(sine(tmp_path / "nine.wav", channels=9))
