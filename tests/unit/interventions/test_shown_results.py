"""What has no figure of its own shows its table; direct attribution is a map; sequences a strip."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from drawn import cells_in, texts_in
from tiny_pairs import ANSWER, FOIL, gqa_model, whole_pair
from tiny_speech import make_utterances

import slm_lens
from slm_lens._pictured import Pictured
from slm_lens.views.direct_figure import direct_figure
from slm_lens.views.of_results import shown_as
from slm_lens.views.page import View


@pytest.fixture(scope="module")
def model():
    return gqa_model()


def test_direct_attribution_is_a_map_of_parts(model):
    direction = slm_lens.logit_of_tokens(model, [ANSWER], [FOIL])
    utterances = make_utterances(2, 3)
    found = slm_lens.attribute_directly(model, utterances, direction)
    chart: Any = direct_figure(found)
    (cells,) = cells_in(chart)
    scores = {
        (part.kind, part.layer, part.head): found.scores[:, i].double().mean().item()
        for i, part in enumerate(found.parts)
    }
    n_heads = model.cfg.n_heads
    for layer in range(3):
        wanted = [scores["head", layer, head] for head in range(n_heads)]
        assert cells[layer, :n_heads] == pytest.approx(np.array(wanted), abs=1e-6)
        assert cells[layer, -1] == pytest.approx(scores["mlp", layer, None], abs=1e-6)
    assert texts_in(chart)[0][0][-1] == f"{scores['mlp', 0, None]:.2f}".replace("-0.00", "0.00")
    assert f"embed {scores['embed', None, None]:.3g}" in chart.description
    assert f"{found.values.double().mean().item():.3g} in all" in chart.description
    assert isinstance(found, Pictured)
    assert "<iframe" in found._repr_html_()


def test_a_result_without_a_figure_shows_its_table(model):
    site = slm_lens.Site("resid_post", 1)
    vector = slm_lens.random_directions(1, model.cfg.d_model, length=1.0, seed=0)[0]
    steering = slm_lens.Steering(site, vector, span=(2, None))
    made = slm_lens.generate_steered(model, make_utterances(2, 3), steering, max_new_tokens=3)
    view: Any = shown_as(made)
    assert isinstance(view, View)
    assert (view.kind, view.data["n_rows"]) == ("table", 2)
    columns = {c["name"]: c for c in view.data["columns"]}
    assert list(columns) == made.to_frame().columns
    tokens = " ".join(map(str, made.continuations[0].tokens.tolist()))
    assert columns["tokens"]["spellings"][0] == tokens
    paths = slm_lens.patch_paths(
        model,
        [whole_pair()],
        slm_lens.logit_difference(),
        [([slm_lens.StreamWriter("embed")], [slm_lens.StreamReader("mlp", 1)])],
    )
    shown: Any = shown_as(paths)
    effect = next(c for c in shown.data["columns"] if c["name"] == "effect")
    assert effect["values"].tolist() == pl.Series(paths.to_frame()["effect"]).to_list()
    assert "<iframe" in paths._repr_html_()


def test_a_sequence_is_a_strip_of_token_ids(model):
    utterance = make_utterances(1, 3)[0]
    view: Any = shown_as(utterance)
    assert view.kind == "speech_tokens"
    assert view.title == utterance.name
    labels = [p["label"] for p in view.data["positions"]]
    assert labels == [str(t) for t in utterance.sequence.tokens.tolist()]
    assert [w["word"] for w in view.data["words"]] == [w.word for w in utterance.sequence.words]
    of_sequence: Any = shown_as(utterance.sequence)
    assert of_sequence.data["groups"] == view.data["groups"]
    strip = slm_lens.speech_tokens(utterance.sequence, model.vocab)
    assert "unit" in strip.data["positions"][2]
