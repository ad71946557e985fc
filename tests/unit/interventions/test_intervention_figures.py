"""Figures of interventions: both renderings hold the rows of the results' own tables."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from drawn import cells_in, keys_in, lines_in, texts_in, under_the_pointer
from tiny_pairs import gqa_model, unequal_pair, whole_pair

from slm_lens._pictured import Pictured
from slm_lens.interventions.ablation.word_ablation import WordAblation
from slm_lens.interventions.heads.head_roles import HeadRoles
from slm_lens.interventions.patching.patching_result import SCHEMA, Patching
from slm_lens.interventions.site import Site
from slm_lens.interventions.steering.dose_response import DoseResponse
from slm_lens.interventions.tracing.tracing_result import PROMPTS, Tracing
from slm_lens.interventions.tracing.tracing_result import SCHEMA as TRACED
from slm_lens.model.provenance import Provenance
from slm_lens.views.attribution_figure import edges_figure, nodes_figure
from slm_lens.views.dose_figure import dose_figure
from slm_lens.views.effects_figure import word_ablation_figure
from slm_lens.views.head_roles_figure import head_roles_figure
from slm_lens.views.of_results import _FIGURES, _PAGES, chart_of
from slm_lens.views.sweeps_figure import headline_value, patching_figure, tracing_figure

PROVENANCE = Provenance("tiny", "by hand", "Qwen2", "float32", "eager", None, False, False, None)


def patching_of(rows):
    """Rows of pair, kind, layer, head, source layer, role, metric, clean, corrupted, patched."""
    full = [(*row[:5], "word", row[5], 3, *row[6:]) for row in rows]
    table = pl.DataFrame(full, schema=SCHEMA, orient="row")
    return Patching(table, "denoising", "roles", "warp", "resumed", PROVENANCE)


ROLES = [
    (pair, "resid_pre", layer, None, layer, role, "kl", 1.0, 0.0, patched)
    for pair, more in (("a", 0.0), ("b", 0.5))
    for layer, role, patched in ((0, "changed", 0.25 + more), (1, "changed", 0.0), (1, "end", more))
]


def test_patching_by_layer_and_role():
    chart: Any = patching_figure(patching_of(ROLES), n_bootstrap=50)
    (cells,) = cells_in(chart)
    assert cells[:, 0].tolist() == [0.5, 0.0]
    assert np.isnan(cells[0, 1])
    assert cells[1, 1] == 0.25
    assert texts_in(chart) == [[["0.50", ""], ["0.00", "0.25"]]]
    assert chart.panels[0].title == "resid_pre"
    assert chart.scale.label == "recovery of kl"
    first = under_the_pointer(chart, 0)[0]
    assert first[:3] == ["layer: 0", "changed", "recovery of kl: 0.5"]
    assert first[3].startswith("95 % interval: [")
    assert first[4] == "pairs: 2"


def test_patching_of_heads_and_of_other_layers():
    heads = [
        ("a", "z", 0, head, 0, role, "kl", 1.0, 0.0, head + patched)
        for head in range(2)
        for role, patched in (("changed", 0.1), ("end", 0.3))
    ]
    chart: Any = patching_figure(patching_of(heads), n_bootstrap=0)
    assert [panel.title for panel in chart.panels] == ["z, changed", "z, end"]
    assert np.array(cells_in(chart)) == pytest.approx(np.array([[[0.1, 1.1]], [[0.3, 1.3]]]))
    assert chart.panels[0].x.title == "head"
    moved = [("a", "z", 1, None, s, "end", "kl", 1.0, 0.0, s / 4) for s in range(3)]
    chart = patching_figure(patching_of(moved), n_bootstrap=0)
    assert cells_in(chart)[0].tolist() == [
        [0.0, 0.25, 0.5]
    ]  # layers that were not patched: no rows
    assert chart.panels[0].y.names == ("1",)
    assert chart.panels[0].x.title == "source layer"
    both = patching_of(
        [("a", "z", 1, h, s, "end", "kl", 1.0, 0.0, 1.0) for h in (0, 1) for s in (0, 2)]
    )
    with pytest.raises(ValueError, match=r"got several rows for one layer and head in 'z, end'"):
        patching_figure(both, n_bootstrap=0)


def test_without_a_difference_to_divide_by_the_change_is_drawn():
    rows = [("a", "z", 0, None, 0, "end", "mass", 0.5, 0.5, 0.75)]
    patching = patching_of(rows)
    assert headline_value(patching, "mass") == "effect"
    chart: Any = patching_figure(patching, n_bootstrap=0)
    assert cells_in(chart)[0].tolist() == [[0.25]]
    assert chart.scale.label == "change of mass"
    assert headline_value(patching_of(ROLES), "kl") == "recovery"
    shown = patching_figure(patching_of(ROLES), value="effect", n_bootstrap=0)
    assert cells_in(shown)[0][:, 0].tolist() == [0.5, 0.0]
    with pytest.raises(ValueError, match=r"got metric='rank', expected one of \['mass'\]"):
        patching_figure(patching, metric="rank")


def test_tracing_has_a_panel_for_each_modality():
    place = ("fox", "last", 5, "probability", 0.9, 0.1)
    rows = [
        (modality, modality, "mlp_out", layer, *place, restored, None)
        for modality, layer, restored in (("text", 0, 0.1), ("text", 1, 0.5), ("speech", 0, 0.9))
    ]  # fmt: skip
    tracing = Tracing(
        pl.DataFrame(rows, schema=TRACED, orient="row"), pl.DataFrame(schema=PROMPTS), "mlp_out",
        "roles", 2, None, {"text": 0.5}, 10, 3, "resumed", PROVENANCE,
    )  # fmt: skip
    chart: Any = tracing_figure(tracing, n_bootstrap=0)
    assert [panel.title for panel in chart.panels] == ["text: mlp_out", "speech: mlp_out"]
    text, speech = cells_in(chart)
    assert text[:, 0] == pytest.approx([0.0, 0.4])
    assert speech[0, 0] == pytest.approx(0.8)
    assert np.isnan(speech[1, 0])
    assert (chart.scale.low, chart.scale.high) == pytest.approx((-0.8, 0.8))


def roles_of(n_heads):
    mass = torch.zeros(2, 2, 3, n_heads)
    mass[0, :, 1, 0], mass[0, :, 2, 1] = 0.75, 0.25
    mass[1] = torch.nan  # a role that never occurs
    uniform = torch.full((2, 2, 3), 0.25)
    return HeadRoles(
        mass, uniform, ("own_units", "same_word"), (0, 1, 5), ("a", "b"), (0, 0), ("fox", "dog"),
        20, 0, None,
    )  # fmt: skip


def test_roles_of_heads_are_attention_beyond_uniform():
    chart: Any = head_roles_figure(roles_of(2))
    (cells,) = cells_in(chart)
    assert cells.tolist() == [[-0.25, -0.25], [0.5, -0.25], [-0.25, 0.0]]
    assert chart.panels[0].title == "own units"
    assert chart.panels[0].y.names == ("0", "1", "5")
    assert texts_in(chart)[0][1] == ["0.50", "-0.25"]
    assert under_the_pointer(chart, 0)[2] == [
        "layer: 1", "head: 0", "beyond uniform: 0.5", "95 % interval: [0.5, 0.5]",
        "attention: 0.75, uniform: 0.25", "words: 2",
    ]  # fmt: skip
    chart = head_roles_figure(roles_of(32))
    assert chart.panels[0].heat.text is None


def dose_of(n_random):
    values = torch.tensor([[[[1.0, 2.0, 4.0]], [[1.0, 2.0, 6.0]]]])  # metric, run, layer, strength
    return DoseResponse(
        values, torch.full((*values.shape, n_random), 2.5), torch.tensor([[2.0, 2.0]]), ("mass",),
        ("a", "b"), (Site("resid_post", 4),), (-1.0, 0.0, 2.0), 20, 0, None,
    )  # fmt: skip


def test_doses_are_curves_beside_random_vectors():
    chart: Any = dose_figure(dose_of(3))
    assert lines_in(chart) == [
        {"vector": ([-1, 0, 2], [-1, 0, 3]), "random": ([-1, 0, 2], [0.5, 0.5, 0.5])}
    ]
    assert chart.panels[0].title == "resid_post, layer 4"
    assert keys_in(chart) == [["vector", "random"]]
    assert chart.panels[0].lines[0].low.tolist() == [-1, 0, 2]
    assert lines_in(dose_figure(dose_of(0))) == [{"vector": ([-1, 0, 2], [-1, 0, 3])}]
    with pytest.raises(ValueError, match=r"dose_figure: got metric='rank' and n_columns=4"):
        dose_figure(dose_of(0), metric="rank")


def test_ablations_are_curves_beside_their_controls():
    rows = [
        ("units", "a", 0, "fox", True, layer, directions, None, 1, 0.5, 0.0, effect, effect)
        for directions, effects in (("word", (-1.0, -2.0)), ("random", (0.0, 0.5)))
        for layer, effect in enumerate(effects)
    ]
    names = [
        "metric", "utterance", "word_index", "word", "is_content", "layer", "directions", "draw",
        "n_directions", "removed", "baseline", "value", "effect",
    ]  # fmt: skip
    table = pl.DataFrame(rows, schema=names, orient="row")
    ablation = WordAblation(table, "current", "whole_word", 0, 1, 20, 0, {}, {}, PROVENANCE)
    chart: Any = word_ablation_figure(ablation)
    assert lines_in(chart) == [{"word": ([0, 1], [-1, -2]), "random": ([0, 1], [0.0, 0.5])}]
    assert chart.panels[0].title == "tiny, current word"
    with pytest.raises(ValueError, match=r"got metric='mass', expected one of \['units'\]"):
        word_ablation_figure(ablation, metric="mass")


def test_nodes_are_their_mean_scores():
    from slm_lens.interventions.attribution.nodes import attribute_nodes
    from slm_lens.interventions.metrics import logit_difference

    found = attribute_nodes(gqa_model(), [whole_pair(), unequal_pair()], logit_difference())
    chart: Any = nodes_figure(found)
    stream, heads, _ = cells_in(chart)
    table = found.to_frame("roles")
    of_stream = table.filter(kind="resid_pre", layer=1, role="changed")["score"]
    column = chart.panels[0].x.names.index("changed")
    assert stream[1, column] == pytest.approx(np.mean(of_stream.to_list()))
    everywhere = found.to_frame("all").filter(kind="z", layer=2, head=3)["score"]
    assert heads[2, 3] == pytest.approx(np.mean(everywhere.to_list()))
    assert heads.shape == (3, 4)
    assert [panel.title for panel in chart.panels] == ["resid_pre", "z, all positions", "mlp_out"]
    assert found.mean("all")["n_pairs"].unique().to_list() == [2]
    with pytest.raises(ValueError, match=r"NodeAttribution.mean: got at='words', expected 'roles'"):
        found.mean("words")


def test_edges_are_a_matrix_of_writers_and_readers():
    from slm_lens.interventions.attribution.edges import attribute_edges
    from slm_lens.interventions.metrics import logit_difference

    found = attribute_edges(gqa_model(), [whole_pair()], logit_difference())
    chart: Any = edges_figure(found)
    (cells,) = cells_in(chart)
    assert (np.isnan(cells) == ~found.graph.edges.numpy()).all()
    assert np.nan_to_num(cells) == pytest.approx(found.mean().numpy())
    writer, reader = found.graph.writers[0].label, found.graph.readers[0].label
    assert f"{writer} → {reader}" in under_the_pointer(chart, 0)[0]


def test_results_show_themselves_and_others_are_refused():
    for result in (patching_of(ROLES), roles_of(2), dose_of(1)):
        shown = result._repr_html_()
        assert shown.startswith('<iframe class="slm-lens"')
        assert chart_of(result).title in shown
    drawn = {*_FIGURES, *_PAGES}
    assert drawn <= set(Pictured.__subclasses__())
    assert all(hasattr(kind, "to_frame") for kind in set(Pictured.__subclasses__()) - drawn)
    with pytest.raises(
        TypeError, match=r"chart_of: got a dict, expected one of \['DirectAttribution'"
    ):
        chart_of({})
