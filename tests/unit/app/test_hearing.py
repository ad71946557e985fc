import numpy as np
import pytest
import soundfile

from slm_lens.app.hearing import listen, speak, with_word, write_wav
from slm_lens.app.limits import Limits
from slm_lens.errors import AlignmentError, AudioError
from slm_lens.speech.alignment_files import write_alignment

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def zebra():
    return speak("the zebra lives in the desert", "en-us", RATE_HZ, Limits())


def test_a_typed_sentence_has_words_with_times(zebra):
    assert zebra.words == ("the", "zebra", "lives", "in", "the", "desert")
    assert zebra.words_from == "espeak-ng"
    assert zebra.sample_rate_hz == RATE_HZ
    assert 1.0 < zebra.duration_s < 3.0
    ends = [w.end_s for w in zebra.alignment]
    assert ends == sorted(ends)
    assert ends[-1] <= zebra.duration_s


def test_a_full_stop_is_added_once():
    plain = speak("the zebra sleeps", "en-us", RATE_HZ, Limits())
    ended = speak("The zebra sleeps.", "en-us", RATE_HZ, Limits())
    asked = speak("the zebra sleeps?", "en-us", RATE_HZ, Limits())
    assert plain.waveform.equal(ended.waveform)
    assert plain.waveform.numel() != asked.waveform.numel() or not plain.waveform.equal(
        asked.waveform
    )


def test_another_rate_keeps_the_length(zebra):
    assert zebra.at(RATE_HZ) is zebra
    assert zebra.at(8000).duration_s == pytest.approx(zebra.duration_s, abs=1e-3)
    assert zebra.at(8000).sample_rate_hz == 8000


def test_a_long_sentence_is_refused_after_it_was_spoken():
    with pytest.raises(AudioError, match="s of sound, expected at most 1 s"):
        speak("the zebra lives in the desert", "en-us", RATE_HZ, Limits(max_seconds=1.0))


def test_a_recording_with_word_times(zebra, tmp_path):
    clip = write_wav(zebra, tmp_path / "clip.wav")
    write_alignment(tmp_path / "clip.json", zebra.alignment)
    heard = listen(clip, RATE_HZ, Limits(), words_file=tmp_path / "clip.json")
    assert heard.words == zebra.words
    assert heard.words_from == "alignment file"
    assert heard.name == "clip"
    np.testing.assert_allclose(heard.waveform, zebra.waveform, atol=2**-14)


def test_a_recording_with_its_text(zebra, tmp_path):
    clip = write_wav(zebra, tmp_path / "clip.wav")
    heard = listen(clip, RATE_HZ, Limits(), transcript="the zebra lives in the desert")
    assert heard.words_from == "text, roughly aligned"
    assert [w.lower() for w in heard.words] == list(zebra.words)
    assert heard.alignment is not None
    for rough, true in zip(heard.alignment, zebra.alignment, strict=True):
        assert rough.start_s == pytest.approx(true.start_s, abs=0.08)  # two frames


def test_a_recording_alone_has_no_words(zebra, tmp_path):
    heard = listen(write_wav(zebra, tmp_path / "clip.wav"), RATE_HZ, Limits())
    assert heard.words == ()
    assert heard.words_from == "nothing"


def test_words_given_twice_are_refused(zebra, tmp_path):
    clip = write_wav(zebra, tmp_path / "clip.wav")
    with pytest.raises(ValueError, match="got an alignment file and a text, expected one"):
        listen(clip, RATE_HZ, Limits(), words_file=clip, transcript="the zebra")


def test_a_large_alignment_file_is_refused(zebra, tmp_path):
    clip = write_wav(zebra, tmp_path / "clip.wav")
    (tmp_path / "words.json").write_text(" " * 200_000)
    limits = Limits(max_bytes=150_000)
    with pytest.raises(AudioError, match=r"got a file of 0.2 MB, expected at most 0.15 MB"):
        listen(clip, RATE_HZ, limits, words_file=tmp_path / "words.json")


def test_a_silent_recording_is_refused(tmp_path):
    soundfile.write(tmp_path / "still.wav", np.zeros(16_000), RATE_HZ)
    with pytest.raises(AudioError, match="digital silence"):
        listen(tmp_path / "still.wav", RATE_HZ, Limits())


def test_a_refusal_names_the_file_and_not_its_folder(zebra, tmp_path):
    soundfile.write(tmp_path / "still.wav", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(AudioError, match=r"still\.wav: got digital silence") as refused:
        listen(tmp_path / "still.wav", RATE_HZ, Limits())
    assert str(tmp_path) not in str(refused.value)
    clip = write_wav(zebra, tmp_path / "clip.wav")
    (tmp_path / "words.json").write_text("{")
    with pytest.raises(AlignmentError, match=r"words\.json") as refused:
        listen(clip, RATE_HZ, Limits(), words_file=tmp_path / "words.json")
    assert str(tmp_path) not in str(refused.value)


def test_one_word_is_exchanged(zebra):
    assert with_word(zebra, 1, " tiger ", Limits()) == "the tiger lives in the desert"


@pytest.mark.parametrize(("index", "word"), [(1, "Zebra"), (1, "old tiger"), (6, "x"), (-1, "x")])
def test_what_is_no_other_word_is_refused(zebra, index, word):
    with pytest.raises(ValueError, match="expected one other word in the place of a word"):
        with_word(zebra, index, word, Limits())


def test_a_clip_without_words_has_none_to_exchange(zebra, tmp_path):
    heard = listen(write_wav(zebra, tmp_path / "clip.wav"), RATE_HZ, Limits())
    with pytest.raises(AlignmentError, match="got a clip without words"):
        with_word(heard, 0, "tiger", Limits())
