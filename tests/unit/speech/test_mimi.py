"""Codes of a tiny Mimi: the codec's own, frame by frame, as streams."""

import json

import pytest
import torch
from tiny_mimi import tiny_mimi

from slm_lens import MimiCodes, Units, load_unit_tokenizer
from slm_lens.errors import AudioError

CLIP = torch.sin(torch.arange(24_000) * 0.05) * torch.linspace(0.1, 0.9, 24_000)


@pytest.fixture(scope="module")
def codec():
    return tiny_mimi(codebook_size=32)


def test_codes_are_the_codecs_own(codec):
    streams = MimiCodes(codec, n_codebooks=4).encode(CLIP)
    with torch.no_grad():
        expected = codec.encode(CLIP[None, None]).audio_codes[0]
    assert list(streams) == ["units", "codebook_1", "codebook_2", "codebook_3"]
    for q, units in enumerate(streams.values()):
        assert isinstance(units, Units)
        assert units.ids.tolist() == expected[q].tolist()
        assert units.frame_rate_hz == 12.5
        assert set(units.durations_frames.tolist()) == {1}
    assert len(streams["units"]) == 13  # a second of 12.5 frames, begun ones included


def test_it_is_written_and_read(codec, tmp_path):
    tokenizer = MimiCodes(codec, n_codebooks=2)
    tokenizer.save(tmp_path)
    read = load_unit_tokenizer(tmp_path)
    assert isinstance(read, MimiCodes)
    assert (read.n_units, read.n_codebooks, read.sample_rate_hz) == (32, 2, 24_000)
    assert (read.frame_rate_hz, read.dedup) == (12.5, False)
    own, again = tokenizer.encode(CLIP), read.encode(CLIP)
    assert {k: u.ids.tolist() for k, u in own.items()} == {
        k: u.ids.tolist() for k, u in again.items()
    }


def test_what_it_refuses(codec, tmp_path):
    with pytest.raises(TypeError, match=r"got a Linear, expected a transformers\.MimiModel"):
        MimiCodes(torch.nn.Linear(2, 2), n_codebooks=1)
    for n_codebooks in (0, 7):
        with pytest.raises(ValueError, match=rf"n_codebooks={n_codebooks}, expected 1 to 6"):
            MimiCodes(codec, n_codebooks=n_codebooks)
    codec.train()
    with pytest.raises(ValueError, match="training mode"):
        MimiCodes(codec, n_codebooks=1)
    codec.eval()
    with pytest.raises(AudioError, match=r"got 1919 samples, expected at least 1920"):
        MimiCodes(codec, n_codebooks=1).encode(CLIP[:1919])
    with pytest.raises(FileNotFoundError, match=r"without a config\.json.*hf download"):
        MimiCodes.from_folder(tmp_path, n_codebooks=1)
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(ValueError, match=r"type 'hubert' .* expected 'mimi'"):
        MimiCodes.from_folder(tmp_path, n_codebooks=1)


def test_missing_weights_are_not_made_up(codec, tmp_path):
    from safetensors.torch import load_file, save_file

    MimiCodes(codec, n_codebooks=1).save(tmp_path)
    path = tmp_path / "mimi" / "model.safetensors"
    weights = load_file(path)
    del weights[next(n for n in weights if n.startswith("encoder."))]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"without the weights \['encoder\."):
        load_unit_tokenizer(tmp_path)
    (tmp_path / "unit_tokenizer.json").write_text(json.dumps({"kind": "mimi", "mimi": 3}))
    with pytest.raises(ValueError, match=r"got mimi=3 .* expected a value of type str"):
        load_unit_tokenizer(tmp_path)
