"""Cepstra against a float64 computation from other libraries; units against distances by hand."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from slm_lens.errors import AudioError
from slm_lens.sequence.spans import word_unit_spans
from slm_lens.speech import mfcc as mfcc_module
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.mfcc import MfccKMeans, mfcc_features
from slm_lens.speech.unit_tokenizers import load_unit_tokenizer

HOP = 640


def oracle():
    path = Path(__file__).parents[2] / "oracles" / "numpy_mfcc.py"
    spec = importlib.util.spec_from_file_location("numpy_mfcc", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(n_samples, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.5, 0.5, n_samples)).float()


def chirp(n_samples):
    t = np.arange(n_samples) / 16_000
    sound = 0.4 * np.sin(2 * np.pi * (200 + 1500 * t) * t) * (1 + np.sin(2 * np.pi * 3 * t))
    return (torch.from_numpy(sound) + 0.01 * noise(n_samples, 1)).float()


@pytest.fixture(scope="module")
def tokenizer():
    return MfccKMeans(torch.randn(12, 39, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("waveform", [noise(9000), chirp(16_000), chirp(2 * HOP), noise(HOP * 5)])
def test_features_equal_the_float64_oracle(waveform):
    features = mfcc_features(waveform)
    expected = oracle().mfcc(waveform.numpy())
    assert features.shape == expected.shape
    # float32 spectra: the largest difference seen is 2e-5, of columns with variance 1.
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("rate_hz", [12.5, 20.0, 100 / 3, 50.0, 100.0])
def test_features_at_other_frame_rates_equal_the_float64_oracle(rate_hz):
    waveform = chirp(16_000)
    features = mfcc_features(waveform, frame_rate_hz=rate_hz)
    expected = oracle().mfcc(waveform.numpy(), hop=round(16_000 / rate_hz))
    assert features.shape == expected.shape == (1 + 16_000 // round(16_000 / rate_hz), 39)
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-4)


def test_at_25_hz_nothing_changed_when_other_rates_came():
    # As the embedded models' units were made, to the bit: neighbouring frames, hops of 640 samples.
    waveform = chirp(33_333)
    window, mel, dct = (
        torch.hann_window(1024),
        mfcc_module._mel_filters(),
        mfcc_module._dct_matrix(),
    )
    power = torch.stft(waveform, 1024, 640, window=window, return_complex=True).abs().square()
    cepstra = (dct @ (mel @ power).clamp_min(1e-10).log()).T

    def difference(rows):
        padded = torch.cat([rows[:1], rows, rows[-1:]])
        return (padded[2:] - padded[:-2]) / 2

    first = difference(cepstra)
    stacked = torch.cat([cepstra, first, difference(first)], dim=1)
    spread = stacked.std(dim=0, correction=0).clamp_min(1e-5)
    before = (stacked - stacked.mean(dim=0)) / spread
    assert torch.equal(mfcc_features(waveform), before)
    assert torch.equal(mfcc_features(waveform, frame_rate_hz=25.0), before)


def test_frames_of_the_three_rates_are_of_the_same_moments():
    # Up to normalisation, frame i at 12.5 Hz is frame 2 i at 25 Hz and frame 4 i at 50 Hz, but for
    # the differences at the clip's edges, where each rate repeats the moments that it has.
    waveform = chirp(40_000)
    slow, middle, fast = (mfcc_features(waveform, frame_rate_hz=r) for r in (12.5, 25.0, 50.0))
    inner = slice(2, -2)
    for other in (middle[::2], fast[::4][: len(slow)]):
        a, b = slow[inner], other[: len(slow)][inner]
        a, b = ((x - x.mean(0)) / x.std(0) for x in (a, b))
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


@pytest.mark.parametrize("rate_hz", [0.0, -25.0, 24.99, 150.0])
def test_a_frame_rate_without_a_hop_is_refused(tokenizer, rate_hz):
    with pytest.raises(ValueError, match=r"got frame_rate_hz=.*expected 100 / n .* 12.5, 25 or 50"):
        tokenizer.at_rate(rate_hz)
    with pytest.raises(ValueError, match=r"got frame_rate_hz="):
        mfcc_features(chirp(16_000), frame_rate_hz=rate_hz)


def test_the_same_centroids_at_another_rate(tokenizer):
    waveform = chirp(32_000)
    fast = tokenizer.at_rate(50.0)
    assert (fast.frame_rate_hz, tokenizer.frame_rate_hz, MfccKMeans.frame_rate_hz) == (50, 25, 25)
    assert fast.centroids is tokenizer.centroids
    units = fast.encode(waveform)
    assert units.frame_rate_hz == 50
    features = oracle().mfcc(waveform.numpy(), hop=320)
    centroids = tokenizer.centroids.double().numpy()
    nearest = [int(np.argmin([np.sum((f - c) ** 2) for c in centroids])) for f in features]
    assert units.to_frames().tolist() == nearest


def test_features_do_not_depend_on_loudness():
    quiet, loud = mfcc_features(0.1 * chirp(16_000)), mfcc_features(0.5 * chirp(16_000))
    torch.testing.assert_close(quiet, loud, atol=1e-3, rtol=0)


def test_units_are_the_nearest_centroids(tokenizer):
    waveform = chirp(16_000)
    features, centroids = oracle().mfcc(waveform.numpy()), tokenizer.centroids.double().numpy()
    nearest = [int(np.argmin([np.sum((f - c) ** 2) for c in centroids])) for f in features]
    assert tokenizer.encode(waveform).to_frames().tolist() == nearest
    plain = MfccKMeans(tokenizer.centroids, dedup=False).encode(waveform)
    assert plain.ids.tolist() == nearest
    assert len(tokenizer.encode(waveform)) < len(plain)


@pytest.mark.parametrize("n_samples", [2 * HOP, 2 * HOP + 1, 3 * HOP - 1, 10_000])
def test_units_cover_the_clip_and_at_most_one_hop_more(tokenizer, n_samples):
    units = tokenizer.encode(noise(n_samples))
    assert units.frame_rate_hz == 25
    assert 0 < units.duration_s - n_samples / 16_000 <= HOP / 16_000
    # So a word that ends with the clip ends before the units do, and only the last unit, which is
    # still sounding then, is not its own.
    end_s = n_samples / 16_000
    words = Alignment((AlignedWord("a", 0.0, end_s / 2), AlignedWord("b", end_s / 2, end_s)))
    (_, middle), (start, end) = word_unit_spans(units.ends_s.tolist(), words)
    assert middle == start
    assert end == len(units) - 1


def test_a_short_clip_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"got 1279 samples, expected at least 1280.*two hops"):
        tokenizer.encode(noise(2 * HOP - 1))
    with pytest.raises(ValueError, match=r"got 1023 samples, expected at least 1024.*one window"):
        tokenizer.at_rate(50.0).encode(noise(1023))


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (torch.full((5000,), float("nan")), "5000 of 5000 samples that are NaN"),
        (noise(5000) * 32768, "got a peak of .*Divide 16-bit"),
        (noise(5000).index_fill(0, torch.tensor([7]), float("inf")), "1 of 5000 samples"),
        (torch.zeros(0), "got 0 samples"),
    ],
)
def test_samples_that_cannot_be_used_are_refused(tokenizer, waveform, message):
    with pytest.raises(AudioError, match=r"MfccKMeans.encode: .*" + message):
        tokenizer.encode(waveform)


def test_silence_is_one_unit(tokenizer):
    assert len(tokenizer.encode(torch.zeros(5000))) == 1


@pytest.mark.parametrize(("dedup", "rate_hz"), [(True, 25.0), (False, 12.5)])
def test_what_is_saved_is_read_again(tmp_path, tokenizer, dedup, rate_hz):
    MfccKMeans(tokenizer.centroids, dedup=dedup, frame_rate_hz=rate_hz).save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "centroids.safetensors", "unit_tokenizer.json",
    ]  # fmt: skip
    about = json.loads((tmp_path / "unit_tokenizer.json").read_text())
    assert about == {
        "kind": "mfcc_kmeans", "dedup": dedup, "n_units": 12, "frame_rate_hz": rate_hz,
    }  # fmt: skip
    for again in (MfccKMeans.from_folder(tmp_path), load_unit_tokenizer(tmp_path)):
        assert isinstance(again, MfccKMeans)
        assert torch.equal(again.centroids, tokenizer.centroids)
        assert (again.dedup, again.n_units, again.sample_rate_hz) == (dedup, 12, 16_000)
        assert again.frame_rate_hz == rate_hz


def test_a_file_from_before_there_were_frame_rates_is_of_25_hz(tmp_path, tokenizer):
    tokenizer.at_rate(50.0).save(tmp_path)
    about = json.loads((tmp_path / "unit_tokenizer.json").read_text())
    del about["frame_rate_hz"]
    (tmp_path / "unit_tokenizer.json").write_text(json.dumps(about))
    assert MfccKMeans.from_folder(tmp_path).frame_rate_hz == 25
