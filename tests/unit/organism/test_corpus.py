"""The spoken corpus: written once, read again as it was, and refused when it is another."""

import numpy as np
import pytest
import torch

from slm_lens.organism.corpus import (
    HELD_OUT_VOICE,
    TRAINING_VOICES,
    build_corpus,
    draw_voice,
    fit_centroids,
    speak_sentences,
    to_spoken_story,
    training_story,
)
from slm_lens.organism.held_out import speak_held_out
from slm_lens.speech.mfcc import MfccKMeans, mfcc_features
from slm_lens.speech.synthesis import EspeakSynthesizer, Voice


@pytest.fixture(scope="module")
def tokenizer():
    return MfccKMeans(torch.randn(100, 39, generator=torch.Generator().manual_seed(0)))


@pytest.mark.slow  # starts processes that import torch
def test_a_corpus_is_read_as_it_was_written(tmp_path, tokenizer):
    path = tmp_path / "corpus.npz"
    spoken = build_corpus(path, tokenizer, 3, n_workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["corpus.npz"]
    read = build_corpus(path, tokenizer, 3, n_workers=1)
    assert len(spoken) == len(read) == 3
    for i, (a, b) in enumerate(zip(spoken, read, strict=True)):
        assert a.words == b.words == tuple(" ".join(training_story(i, spoken=True)).split())
        assert a.spans == b.spans
        assert a.units.dtype == b.units.dtype == np.int16
        assert a.units.tolist() == b.units.tolist()
        assert len(a.units) > 2 * len(a.words)
    with pytest.raises(ValueError, match=r"holds 3 stories, expected 4 made with these centroids"):
        build_corpus(path, tokenizer, 4, n_workers=1)
    with pytest.raises(ValueError, match=r"holds 3 stories made with other centroids, expected 3"):
        build_corpus(path, MfccKMeans(tokenizer.centroids + 1), 3, n_workers=1)
    with pytest.raises(ValueError, match=r"holds units at 25 Hz, expected 50 Hz"):
        build_corpus(path, tokenizer.at_rate(50.0), 3, n_workers=1)
    with np.load(path) as stored:  # as it was before it named its frame rate
        np.savez(path, **{n: a for n, a in stored.items() if n != "frame_rate_hz"})
    assert build_corpus(path, tokenizer, 3, n_workers=1)[2].units.tolist() == read[2].units.tolist()


@pytest.mark.slow
def test_a_corpus_has_the_frame_rate_of_its_tokenizer(tmp_path, tokenizer):
    slow = tokenizer.at_rate(12.5)
    (story,) = build_corpus(tmp_path / "corpus.npz", slow, 1, n_workers=1)
    voice = draw_voice(np.random.default_rng([2, 7, 0]), TRAINING_VOICES)
    clip = speak_sentences(EspeakSynthesizer(), training_story(0, spoken=True), voice, 16_000)
    assert story.units.tolist() == slow.encode(clip.waveform).ids.tolist()
    assert len(story.units) < 0.6 * len(tokenizer.encode(clip.waveform))


@pytest.mark.slow
def test_centroids_are_fitted_at_a_frame_rate():
    # The voices and stories that fit_centroids draws, clustered by scikit-learn here.
    from sklearn.cluster import KMeans

    generator, frames = np.random.default_rng(3), []
    for index in range(2):
        voice = draw_voice(generator, TRAINING_VOICES)
        story = training_story(index, spoken=True)
        clip = speak_sentences(EspeakSynthesizer(), story, voice, 16_000)
        frames.append(mfcc_features(clip.waveform, frame_rate_hz=50.0).numpy())
    kmeans = KMeans(100, n_init=2, random_state=3)  # pyright: ignore[reportArgumentType]
    expected = kmeans.fit(np.concatenate(frames)).cluster_centers_
    found = fit_centroids(2, frame_rate_hz=50.0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_sentences_are_spoken_with_a_pause_between_and_words_in_lower_case():
    clip = speak_sentences(
        EspeakSynthesizer(), ["the zebra eats", "every camel is black"], Voice("en-us"), 16_000
    )
    words = clip.alignment.words
    assert [w.word for w in words] == ["the", "zebra", "eats", "every", "camel", "is", "black"]
    assert words[3].start_s - words[2].end_s > 0.1
    assert clip.sample_rate_hz == 16_000
    assert 0 <= clip.waveform.numel() / 16_000 - words[-1].end_s < 0.2


def test_a_story_keeps_its_units_and_spans(tokenizer):
    clip = speak_sentences(EspeakSynthesizer(), ["the zebra eats"], Voice("en-us"), 16_000)
    story = to_spoken_story(clip, tokenizer)
    units = tokenizer.encode(clip.waveform)
    assert story.units.tolist() == units.ids.tolist()
    assert story.words == ("the", "zebra", "eats")
    for w, (start, end) in zip(clip.alignment, story.spans, strict=True):
        inside = [i for i, e in enumerate(units.ends_s.tolist()) if w.start_s <= e <= w.end_s]
        assert inside == list(range(start, end))


def test_voices_vary_within_their_limits():
    generator = np.random.default_rng(0)
    voices = [draw_voice(generator, TRAINING_VOICES) for _ in range(300)]
    assert {v.name for v in voices} == set(TRAINING_VOICES)
    for values, low, high in (
        ([v.rate_wpm for v in voices], 135, 180),
        ([v.pitch for v in voices], 35, 65),
        ([v.pitch_range for v in voices], 35, 65),
    ):
        assert low <= min(values) < max(values) <= high


@pytest.mark.slow
def test_every_third_held_out_clip_has_a_voice_of_its_own():
    names = [name for name, _ in speak_held_out()]
    assert HELD_OUT_VOICE not in TRAINING_VOICES
    assert [n[:2] for n in names] == [f"{i:02d}" for i in range(30)]
    unseen = HELD_OUT_VOICE.replace("+", "-")
    assert [i for i, n in enumerate(names) if n[3:] == unseen] == list(range(2, 30, 3))
