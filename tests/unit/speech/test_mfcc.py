"""Cepstra against a float64 computation from other libraries; units against distances by hand."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from slm_lens.errors import AudioError
from slm_lens.sequence.spans import word_unit_spans
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


@pytest.mark.parametrize("dedup", [True, False])
def test_what_is_saved_is_read_again(tmp_path, tokenizer, dedup):
    MfccKMeans(tokenizer.centroids, dedup=dedup).save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "centroids.safetensors", "unit_tokenizer.json",
    ]  # fmt: skip
    about = json.loads((tmp_path / "unit_tokenizer.json").read_text())
    assert about == {"kind": "mfcc_kmeans", "dedup": dedup, "n_units": 12}
    for again in (MfccKMeans.from_folder(tmp_path), load_unit_tokenizer(tmp_path)):
        assert isinstance(again, MfccKMeans)
        assert torch.equal(again.centroids, tokenizer.centroids)
        assert (again.dedup, again.n_units, again.sample_rate_hz) == (dedup, 12, 16_000)
