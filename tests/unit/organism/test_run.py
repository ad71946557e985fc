"""From a recipe's name to a folder that loads."""

import json

import pytest
import torch

import slm_lens
from slm_lens.organism.recipe import RECIPES
from slm_lens.organism.run import train_organism
from slm_lens.speech.mfcc import MfccKMeans


def test_an_unknown_recipe_is_refused(tmp_path):
    message = r"got recipe 'large', expected one of \['organism', 'organism-control', 'smoke'\]"
    with pytest.raises(LookupError, match=message):
        train_organism("large", tmp_path / "out", device="cpu", n_workers=1)
    assert not (tmp_path / "out").exists()


def test_the_control_begins_with_the_organism():
    organism, control = RECIPES["organism"], RECIPES["organism-control"]
    assert control.stages[: len(organism.stages)] == organism.stages
    supervised = [s.transcription_layer is not None for s in control.stages]
    assert supervised == [False] * len(organism.stages) + [True]


@pytest.mark.slow
def test_the_smoke_recipe_ends_in_a_folder_that_loads(tmp_path):
    # With a codebook in the folder, the run does not fit one (half a minute).
    # At another frame rate than the embedded models', so that every part of the run has it.
    centroids = torch.randn(100, 39, generator=torch.Generator().manual_seed(0))
    MfccKMeans(centroids, frame_rate_hz=50.0).save(tmp_path)
    folder = train_organism("smoke", tmp_path, device="cpu", n_workers=1, frame_rate_hz=50.0)
    assert folder == tmp_path / "smoke"
    card = json.loads((folder / "card.json").read_text())
    assert card["recipe"] == "smoke"
    assert set(card["facts"]) == {
        f"{kind}_{how}"
        for kind in ("spoken", "never_spoken")
        for how in ("from_text", "from_speech", "pairs_in_speech")
    }
    assert all(0 <= value <= 1 for value in card["facts"].values())
    model = slm_lens.load(folder)
    assert model.cfg.n_layers == 4
    assert card["frame_rate_hz"] == model.unit_tokenizer.frame_rate_hz == 50
    assert len(slm_lens.read_utterances(model, "held-out")) == 30
    assert card["n_parameters"] == sum(p.numel() for p in model.original_model.parameters())


def test_units_of_another_frame_rate_in_the_folder_are_refused(tmp_path):
    MfccKMeans(torch.randn(100, 39, generator=torch.Generator().manual_seed(0))).save(tmp_path)
    with pytest.raises(ValueError, match=r"has a unit tokenizer at 25 Hz, expected 12.5 Hz"):
        train_organism("smoke", tmp_path, device="cpu", n_workers=1, frame_rate_hz=12.5)
