"""The exported folder, loaded the way a user loads it, is the model that was trained."""

import json

import pytest
import torch
from tiny_organism import made_up_stories, tiny_recipe

import slm_lens
from slm_lens.organism.export import export_organism
from slm_lens.organism.tokenizer import n_text_tokens
from slm_lens.organism.train import Trainer
from slm_lens.speech.mfcc import MfccKMeans

UNITS = MfccKMeans(torch.randn(100, 39, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    model = Trainer(tiny_recipe(), folder / "run", made_up_stories(), device="cpu").run()
    export_organism(model, UNITS, folder / "model", card={"made": "here", "steps": 8})
    return model, folder / "model"


@pytest.fixture(scope="module")
def loaded(exported):
    return slm_lens.load(exported[1])


def test_the_folder_has_the_published_layout(exported):
    model, folder = exported
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "speech_language_model"
    assert config["vocab_size"] == n_text_tokens() + 102 == model.config.vocab_size
    assert config["base_config"]["vocab_size"] == n_text_tokens()
    assert json.loads((folder / "card.json").read_text()) == {"made": "here", "steps": 8}
    assert not list(folder.glob(".*"))


def test_logits_are_those_of_the_trained_model_in_half_precision(exported, loaded):
    model, _ = exported
    tokens = torch.randint(3, 276, (3, 20), generator=torch.Generator().manual_seed(1))
    rounded = model.float()
    kept = {n: t.clone() for n, t in rounded.state_dict().items()}
    with torch.no_grad():
        exact = rounded(tokens).logits
        rounded.load_state_dict({n: t.half().float() for n, t in kept.items()})
        expected = rounded(tokens).logits
        rounded.load_state_dict(kept)
        found = loaded(tokens)
    # Attention is written out in the one and fused in the other.
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert 0 < (found - exact).abs().max() < 0.01 * exact.abs().max()


def test_vocabulary_and_unit_tokenizer_come_along(loaded):
    n = n_text_tokens()
    assert loaded.vocab.d_vocab == n + 102
    assert loaded.vocab.markers == {"speech": n + 100, "text": n + 101}
    assert list(loaded.vocab.streams["units"]) == list(range(n, n + 100))
    assert torch.equal(loaded.unit_tokenizer.centroids, UNITS.centroids)


@pytest.mark.parametrize("rate_hz", [12.5, 25.0])
def test_a_folder_of_another_frame_rate_reads_clips_at_that_rate(exported, tmp_path, rate_hz):
    units = UNITS.at_rate(rate_hz)
    export_organism(exported[0], units, tmp_path, card={})
    assert (tmp_path / "slm_lens.yaml").exists() == (rate_hz != 25)
    model = slm_lens.load(tmp_path)
    assert model.unit_tokenizer.frame_rate_hz == rate_hz
    assert model.provenance.family == "sims"
    (clip, words) = slm_lens.clips_of("held-out")[0]
    alignment = slm_lens.read_alignment(words)
    tokens = model.sequence_from_audio(clip, alignment).tokens
    expected = units.encode(slm_lens.read_audio(clip, sample_rate_hz=16_000)).ids + n_text_tokens()
    assert tokens.tolist() == expected.tolist()
    usual = slm_lens.load(exported[1])
    assert model.vocab.markers == usual.vocab.markers
    assert model.prompt_format == usual.prompt_format
    assert (model.vocab.kind_of == usual.vocab.kind_of).all()
    with pytest.raises(ValueError, match=r"has units at 50.0 Hz, expected"):
        model.sequence_from_units(UNITS.at_rate(50.0).encode(torch.zeros(16_000)))
