"""The organism grid: what differs between cells, and runs that stop and go on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_organism import made_up_stories

import slm_lens
from slm_lens.organism import train_grid as training
from slm_lens.organism.documents import DocumentWriter
from slm_lens.organism.grid import GridCell, GridConfig, read_grid_config
from slm_lens.organism.tokenizer import n_text_tokens, speech_text_tokenizer
from slm_lens.organism.train import Trainer
from slm_lens.organism.train_grid import token_shares, train_grid
from slm_lens.speech.mfcc import MfccKMeans

TINY = GridConfig(
    cells=(
        GridCell(init="text", data="interleaved"),
        GridCell(init="random", data="interleaved"),
        GridCell(init="text", data="speech"),
    ),
    n_stories=6,
    d_model=16,
    d_mlp=32,
    n_layers=2,
    n_rows=2,
    n_positions=32,
    text_steps=3,
    switching_steps=3,
    settling_steps=2,
    snapshots=(0, 3, 4),
)


@pytest.fixture
def spoken(tmp_path, monkeypatch):
    """A folder whose corpus is made up, so that nothing is spoken and no clusters are fitted."""
    units = MfccKMeans(torch.randn(100, 39, generator=torch.Generator().manual_seed(0)))
    monkeypatch.setattr(training, "_spoken", lambda *_: (units, made_up_stories()))
    monkeypatch.setattr(training, "measure", lambda *_: {})
    return tmp_path / "grid"


def test_cells_differ_in_one_factor():
    text, random = (TINY.recipe(c) for c in TINY.cells[:2])
    assert [s.name for s in text.stages] == ["text", "switching", "settling"]
    assert replace(random, stages=()) == replace(text, stages=())
    assert random.stages == text.stages[1:]
    speech = TINY.recipe(TINY.cells[2])
    assert speech.stages[0] == text.stages[0]
    for one, other in zip(speech.stages[1:], text.stages[1:], strict=True):
        assert replace(one, mixture=other.mixture) == other
        assert one.mixture.weights.tolist() == [0, 0, 1, 0]


def test_default_cells():
    names = [c.name for c in GridConfig().cells]
    assert len(names) == 12
    for main in ("text-interleaved", "random-interleaved", "text-balanced"):
        assert {f"{main}-{s}" for s in range(3)} <= set(names)
    assert {c.group for c in GridConfig().cells} == {
        f"{i}-{d}" for i in ("text", "random") for d in ("speech", "balanced", "interleaved")
    }
    assert GridCell(init="text", data="interleaved", speech_share=0.3).name == (
        "text-interleaved-30-0"
    )


def test_a_killed_grid_goes_on_with_the_same_bits(spoken, tmp_path, monkeypatch):
    whole = train_grid(TINY, tmp_path / "whole", device="cpu", n_workers=1)
    steps = []

    def killed(self, *given):
        steps.append(1)
        if len(steps) == 6:  # in the middle of the second stage of the first cell
            raise KeyboardInterrupt
        return train_step(self, *given)

    train_step = Trainer._train_step
    monkeypatch.setattr(Trainer, "_train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_grid(TINY, spoken, device="cpu", n_workers=1)
    again = train_grid(TINY, spoken, device="cpu", n_workers=1)
    n_steps = len(steps)
    for one, other in zip(whole, again, strict=True):
        a, b = (f / "model.safetensors" for f in (one, other))
        assert a.read_bytes() == b.read_bytes()
    train_grid(TINY, spoken, device="cpu", n_workers=1)
    assert len(steps) == n_steps  # all is ready


def test_snapshots_and_cards(spoken):
    (folder,) = train_grid(TINY, spoken, device="cpu", n_workers=1, only=["text-interleaved-0"])
    assert not (spoken / "random-interleaved-0").exists()
    snapshots = sorted(folder.parent.glob("snapshots/step-*"))
    assert [s.name for s in snapshots] == ["step-000000", "step-000003", "step-000004"]
    card = json.loads((folder / "card.json").read_text())
    assert card["cell"] == {
        "init": "text", "data": "interleaved", "seed": 0, "speech_share": 0.5,
    }  # fmt: skip
    assert [json.loads((s / "card.json").read_text())["n_speech_steps"] for s in snapshots] == [
        0, 3, 4,
    ]  # fmt: skip
    # Before the first step with speech, the text rows are those of the text stage.
    text = torch.load(spoken / "text-0" / "training.pt", weights_only=True)["model"]
    start = slm_lens.load(snapshots[0]).original_model.get_parameter("lm_head.weight")
    expected = text["model.embed_tokens.weight"].half().float()
    torch.testing.assert_close(start[: n_text_tokens()].detach(), expected, atol=0, rtol=0)


def test_shares_of_tokens_are_those_of_the_rows():
    recipe, stories = TINY.recipe(TINY.cells[0]), made_up_stories()
    shares = token_shares(recipe, recipe.stages[1], stories)
    tokenizer = speech_text_tokenizer(100)
    rows, _ = DocumentWriter(tokenizer, stories).rows(
        recipe.stages[1].mixture, 200, recipe.n_positions, np.random.default_rng([0, 0])
    )
    labels = [str(t) for t in tokenizer.convert_ids_to_tokens(rows.flatten().tolist())]
    n_units = sum(label.startswith("<Un") for label in labels)
    n_markers = sum(label in ("<speech>", "<text>") for label in labels)
    assert shares["speech"] == pytest.approx(n_units / len(labels))
    assert shares["markers"] == pytest.approx(n_markers / len(labels))
    assert sum(shares.values()) == pytest.approx(1)
    alone = token_shares(recipe, TINY.recipe(TINY.cells[2]).stages[1], stories)
    assert alone["text"] < 0.2  # end tokens only


def test_a_grid_from_yaml(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("cells: [{init: text, data: balanced, seed: 4}]\nn_layers: 3\n")
    config = read_grid_config(path)
    assert [c.name for c in config.cells] == ["text-balanced-4"]
    assert config.recipe(config.cells[0]).n_layers == 3
    assert config.switching_steps == GridConfig().switching_steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cells: [{init: txt, data: speech}]", r"cells\[0\].init is 'txt'"),
        ("n_layer: 3", r"unknown entries \['n_layer'\].*Is \['n_layers'\] meant"),
        ("cells: []", "expected at least one cell"),
        ("n_rows: 0", "sizes of at least 1"),
        ("cells: [{init: text, data: speech, speech_share: 0.3}]", "only for interleaved"),
        ("a: [", "it is no YAML"),
    ],
)
def test_wrong_yaml_is_refused(tmp_path, text, message):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_grid_config(path)


def test_units_of_another_frame_rate_are_refused(tmp_path):
    units = MfccKMeans(torch.randn(100, 39, generator=torch.Generator().manual_seed(0)))
    units.save(tmp_path)
    with pytest.raises(ValueError, match="has a unit tokenizer at 25 Hz, expected 50 Hz"):
        train_grid(replace(TINY, frame_rate_hz=50.0), tmp_path, device="cpu", n_workers=1)
    assert TINY.recipe(TINY.cells[0]).frame_rate_hz == 25.0


def test_misuse(spoken, tmp_path):
    with pytest.raises(LookupError, match="expected the YAML of a grid"):
        read_grid_config(tmp_path / "none.yaml")
    with pytest.raises(LookupError, match=r"got the cells \['text-0'\], expected some of"):
        train_grid(TINY, spoken, device="cpu", n_workers=1, only=["text-0"])
    train_grid(TINY, spoken, device="cpu", n_workers=1, only=["text-speech-0"])
    with pytest.raises(ValueError, match=r"trained with other \['n_rows'\]"):
        train_grid(replace(TINY, n_rows=3), spoken, device="cpu", n_workers=1,
                   only=["text-speech-0"])  # fmt: skip
