"""HuBERT layer + k-means, against the encoder called by hand and numpy."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from slm_lens.errors import AudioError
from slm_lens.speech.centroids import save_centroids
from slm_lens.speech.hubert import HubertKMeans, nearest_centroid
from slm_lens.speech.unit_tokenizers import load_unit_tokenizer
from slm_lens.speech.units import UnitTokenizer

D_MODEL = 16
LAYER = 2


@pytest.fixture(scope="module")
def hubert():
    """Random weights; strides multiply to 640 as in mHuBERT 25 Hz."""
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=D_MODEL,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8, 8, 8),
        conv_kernel=(10, 8, 8, 4),
        conv_stride=(5, 8, 8, 2),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    return HubertModel(config).eval()


@pytest.fixture(scope="module")
def waveform():
    return 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(1))


def hidden_by_hand(hubert, waveform, layer):
    padded = torch.from_numpy(np.pad(waveform.numpy(), 40))
    with torch.no_grad():
        return hubert(padded[None], output_hidden_states=True).hidden_states[layer][0].numpy()


@pytest.fixture(scope="module")
def centroids(hubert, waveform):
    """Frames of this very clip and neighbours of them, so that many units occur."""
    frames = hidden_by_hand(hubert, waveform, LAYER)[::3]
    noise = np.random.default_rng(0).normal(scale=0.02, size=frames.shape).astype(np.float32)
    return torch.from_numpy(np.concatenate([frames, frames + noise]))


@pytest.mark.parametrize("layer", [0, LAYER, 3])
def test_units_are_the_nearest_centroids_of_the_layer(hubert, centroids, waveform, layer):
    tokenizer = HubertKMeans(hubert, centroids, layer=layer, dedup=False)
    hidden = hidden_by_hand(hubert, waveform, layer).astype(np.float64)
    distances = np.linalg.norm(hidden[:, None] - centroids.numpy().astype(np.float64), axis=-1)
    units = tokenizer.encode(waveform)
    assert units.ids.tolist() == distances.argmin(1).tolist()
    assert units.durations_frames.tolist() == [1] * len(units)
    if layer == LAYER:
        assert len(set(units.ids.tolist())) > 5


def test_the_frame_rate_is_25_hz_and_units_keep_the_time(hubert, centroids, waveform):
    tokenizer = HubertKMeans(hubert, centroids, layer=LAYER)
    assert isinstance(tokenizer, UnitTokenizer)
    assert (tokenizer.frame_rate_hz, tokenizer.sample_rate_hz) == (25.0, 16_000)
    assert (tokenizer.n_units, tokenizer.dedup) == (len(centroids), True)
    frames = HubertKMeans(hubert, centroids, layer=LAYER, dedup=False).encode(waveform).ids
    units = tokenizer.encode(waveform)
    assert units.to_frames().tolist() == frames.tolist()
    assert (units.ids[1:] != units.ids[:-1]).all()
    # 16,080 samples after padding; frames begin 640 apart: within one receptive field of 25.
    assert 24 <= len(frames) <= 25


def test_silence_is_encoded(hubert, centroids):
    assert len(HubertKMeans(hubert, centroids, layer=LAYER).encode(torch.zeros(16_000))) >= 1


def test_the_shortest_clip_gives_one_frame_and_a_shorter_one_is_refused(hubert, centroids):
    tokenizer = HubertKMeans(hubert, centroids, layer=LAYER, dedup=False)
    # kernels 10 8 8 4, strides 5 8 8 2, from the top: 4 -> 3*8+8=32 -> 31*8+8=256 -> 255*5+10=1285
    assert len(tokenizer.encode(torch.ones(1285 - 80))) == 1
    with pytest.raises(AudioError, match=r"got 1204 samples, expected at least 1205"):
        tokenizer.encode(torch.ones(1204))


def test_samples_are_checked(hubert, centroids):
    with pytest.raises(AudioError, match=r"HubertKMeans.encode: got 1 of 2000 samples"):
        HubertKMeans(hubert, centroids, layer=LAYER).encode(
            torch.full((2000,), 0.1).index_fill(0, torch.tensor([7]), torch.nan)
        )


def test_a_model_in_training_mode_is_refused(hubert, centroids):
    hubert.train()
    try:
        with pytest.raises(ValueError, match=r"got a model in training mode.*model.eval\(\)"):
            HubertKMeans(hubert, centroids, layer=LAYER)
    finally:
        hubert.eval()


def test_another_model_is_refused(centroids):
    with pytest.raises(TypeError, match=r"got a Linear, expected a transformers.HubertModel"):
        HubertKMeans(torch.nn.Linear(2, 2), centroids, layer=LAYER)


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_out_of_range_is_refused(hubert, centroids, layer):
    with pytest.raises(ValueError, match=rf"got layer={layer}, expected 0 <= layer <= 3"):
        HubertKMeans(hubert, centroids, layer=layer)


def test_centroids_of_another_width_are_refused(hubert):
    with pytest.raises(ValueError, match=r"width 5, expected the model's hidden_size=16"):
        HubertKMeans(hubert, torch.ones(3, 5), layer=LAYER)


def test_a_tie_goes_to_the_first_centroid():
    centroids = torch.tensor([[9.0, 9.0], [1.0, 0.0], [-1.0, 0.0]])
    assert nearest_centroid(torch.zeros(1, 2), centroids).tolist() == [1]


@pytest.mark.parametrize("dedup", [True, False])
def test_a_saved_tokenizer_gives_the_same_units(tmp_path, hubert, centroids, waveform, dedup):
    tokenizer = HubertKMeans(hubert, centroids, layer=LAYER, dedup=dedup)
    tokenizer.save(tmp_path / "made" / "here")
    loaded = load_unit_tokenizer(tmp_path / "made" / "here")
    assert isinstance(loaded, HubertKMeans)
    assert (loaded.layer, loaded.dedup) == (LAYER, dedup)
    assert loaded.encode(waveform).ids.tolist() == tokenizer.encode(waveform).ids.tolist()


def test_from_folder_takes_npy_centroids(tmp_path, hubert, centroids, waveform):
    hubert.save_pretrained(tmp_path / "hubert")
    np.save(tmp_path / "km.npy", centroids.double().numpy())
    loaded = HubertKMeans.from_folder(tmp_path / "hubert", tmp_path / "km.npy", layer=LAYER)
    direct = HubertKMeans(hubert, centroids, layer=LAYER)
    assert loaded.encode(waveform).ids.tolist() == direct.encode(waveform).ids.tolist()


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path, hubert):
    hubert.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layers.1.attention.q_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    save_centroids(tmp_path / "km.safetensors", torch.ones(2, D_MODEL))
    with pytest.raises(ValueError, match=r"without the weights .*layers.1.attention.q_proj.weight"):
        HubertKMeans.from_folder(tmp_path, tmp_path / "km.safetensors", layer=1)


def test_a_folder_that_is_no_hubert_is_refused(tmp_path):
    save_centroids(tmp_path / "km.safetensors", torch.ones(2, D_MODEL))
    with pytest.raises(FileNotFoundError, match=r"without a config.json, expected .*`hf download"):
        HubertKMeans.from_folder(tmp_path, tmp_path / "km.safetensors", layer=1)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    with pytest.raises(ValueError, match=r"got a model of type 'wav2vec2'.*expected 'hubert'"):
        HubertKMeans.from_folder(tmp_path, tmp_path / "km.safetensors", layer=1)
