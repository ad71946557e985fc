"""Figures of word tables and phases: both renderings hold the rows of the tables."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from drawn import cells_in, keys_in, lines_in, marks_in, texts_in, under_the_pointer
from handmade import PROVENANCE, word_table

from slm_lens.phases.measure import measure_phases
from slm_lens.views.lens_grid_figure import lens_grid_figure
from slm_lens.views.modality_figure import modality_figure
from slm_lens.views.models_figure import models_figure
from slm_lens.views.of_results import chart_of
from slm_lens.views.ranks_figure import ranks_figure, word_ranks_figure

HOSTILE = "</script><img src=x onerror=alert(1)>"
WORDS = [
    {"utterance": u, "current": [9, 1, 3, 9], "next": [9, 9, 1, 6], "speech": [0.9, 0.2, 0.3, 0.9]}
    for u in ("a", "b")
] + [{"utterance": "b", "current": [9, 9, 9, 30], "next": None, "is_last": True}]


def phases_of(name, n_layers=3, n_bootstrap=20):
    words = WORDS
    if n_layers == 2:
        words = [{k: v[:3] if isinstance(v, list) else v for k, v in w.items()} for w in WORDS]
    lens = word_table(words, n_layers=n_layers, provenance=replace(PROVENANCE, name=name))
    return measure_phases(lens, n_bootstrap=n_bootstrap)


@pytest.fixture(scope="module")
def by_hand():
    return phases_of("by hand")


def test_modality_has_three_measures_of_two_modalities(by_hand):
    chart: Any = modality_figure([by_hand, phases_of("other")])
    for lines in lines_in(chart):
        assert len(lines) == 6
        for modality in ("text", "speech"):
            for measure, name in (
                ("mass", "softmax mass"),
                ("argmax", "top token"),
                ("top10", "top ten tokens"),
            ):
                rows = by_hand.curve(f"{modality}_{measure}")
                assert lines[f"{modality}, {name}"][1] == rows["estimate"].to_list()
    wanted = ["text", "speech", "softmax mass", "top token", "top ten tokens"]
    assert keys_in(chart) == [wanted]
    assert chart.panels[0].rules[0].at == by_hand.return_to_speech.layer == 3
    assert modality_figure(by_hand).width_inches == 3.35
    with pytest.raises(ValueError, match=r"modality_figure: got no results"):
        modality_figure([])


def test_models_are_drawn_over_equal_depth(by_hand):
    short = phases_of("short", n_layers=2)
    chart: Any = models_figure([by_hand, short])
    current, next_, intervals, mass = lines_in(chart)
    for one in (by_hand, short):
        depth = [layer / one.n_layers for layer in range(one.n_layers + 1)]
        for lines, measure, keys in (
            (current, "current_word_recall", {"vocab": "text", "pool": "max", "k": 5}),
            (next_, "next_word_recall", {"vocab": "text", "pool": "last", "k": 5}),
            (mass, "speech_mass", {}),
        ):
            assert lines[one.model] == (depth, one.curve(measure, **keys)["estimate"].to_list())
    phases = ("current_word", "next_word", "return_to_speech")
    peaks = [
        getattr(one, name).layer / one.n_layers
        for one in (by_hand, short)
        for name in phases
        if getattr(one, name).layer is not None
    ]
    assert [mark[0] for mark in marks_in(chart)[2]] == peaks
    low, high = by_hand.current_word.interval
    assert intervals["by hand, current word"][0] == [low / 3, high / 3]
    assert chart.rows[1][0].y.names == ("by hand", "short")
    assert under_the_pointer(chart, 0)[1][-1] == "layer: 1 of 3"


def test_models_without_intervals_or_with_one_name_twice(by_hand):
    chart: Any = models_figure([phases_of("bare", n_bootstrap=0)])
    assert lines_in(chart)[2] == {}
    for given in ([], [by_hand, by_hand], [phases_of(str(i)) for i in range(7)]):
        with pytest.raises(ValueError, match=r"models_figure: got results of .* 1 to 6 models"):
            models_figure(given)


def test_ranks_are_lines_with_the_first_place_on_top():
    fox = pl.DataFrame({"layer": [0, 1, 2], "rank": [200, None, 1]})
    owl = pl.DataFrame({"layer": [2, 1, 0], "rank": [4, 5, 6]})
    chart: Any = ranks_figure({"fox": fox, HOSTILE: owl}, label="rank in text")
    (lines,) = lines_in(chart)
    assert lines["fox"][1][::2] == [200.0, 1.0]
    assert np.isnan(lines["fox"][1][1])
    assert lines[HOSTILE] == ([0, 1, 2], [6, 5, 4])
    low, high = chart.matplotlib().axes[0].get_ylim()
    assert low > 200 > 1 > high
    assert keys_in(chart) == [["fox", HOSTILE]]
    with pytest.raises(ValueError, match=r"ranks_figure: got the tables \[\], without rows"):
        ranks_figure({})
    with pytest.raises(ValueError, match=r"ranks_figure: got 7 tables, expected at most 6"):
        ranks_figure({str(i): owl for i in range(7)})


def test_word_ranks_are_the_table():
    table = word_table(WORDS, n_layers=3)
    table = replace(table, table=table.table.with_columns(word=pl.lit("fox")))
    chart: Any = word_ranks_figure(table, utterance="b")
    current, next_ = cells_in(chart)
    assert pytest.approx(np.array([[9, 1, 3, 9], [9, 9, 9, 30]])) == 10**-current.T
    assert 10 ** -next_.T[0] == pytest.approx([9, 9, 1, 6])
    assert np.isnan(next_.T[1]).all()  # the last word has no next one
    assert [row[1] for row in texts_in(chart)[0]] == ["9", "9", "9", "30"]
    assert under_the_pointer(chart, 0)[-1] == ["layer: 3", "fox", "rank in text: 30"]
    assert chart.scale.names == ("100", "10", "1")
    assert "utterance" not in chart.title
    assert word_ranks_figure(table).title.endswith(" a")
    with pytest.raises(ValueError, match=r"got utterance='c', expected one of \['a', 'b'\]"):
        word_ranks_figure(table, utterance="c")


GRID = pl.DataFrame(
    [
        (0, "the", 0, HOSTILE, 0.25, 3, None),
        (0, "the", 1, "the", 0.5, 1, 4),
        (3, "fox", 0, "line\nbreak", 0.75, 2, 1),
        (3, "fox", 1, "fox", 1.0, 1, 1),
    ],
    schema=[
        "word_index", "word", "layer", "token", "probability", "rank_current", "rank_next",
    ],
    orient="row",
)  # fmt: skip


def test_a_lens_grid_is_its_table():
    chart: Any = lens_grid_figure(GRID, n_across=2)
    (cells,) = cells_in(chart)
    assert cells.tolist() == [[0.25, 0.75], [0.5, 1.0]]
    assert texts_in(chart) == [[[HOSTILE, "line\\nbreak"], ["the", "fox"]]]
    heat = chart.panels[0].heat
    wanted = {(1, 0, "current"), (0, 1, "next"), (1, 1, "next"), (1, 1, "current")}
    assert set(heat.frames) == wanted
    assert under_the_pointer(chart, 0)[0] == [
        "layer: 0", "the", f"token: {HOSTILE}", "probability: 0.25",
        "rank of the current word: 3", "rank of the next word: none",
    ]  # fmt: skip
    assert keys_in(chart) == [["current word first", "next word first"]]


def test_long_grids_go_on_below_and_long_tokens_are_cut():
    chart: Any = lens_grid_figure(GRID, n_across=1)
    assert [cells.tolist() for cells in cells_in(chart)] == [[[0.25], [0.5]], [[0.75], [1.0]]]
    narrow = pl.concat([GRID.with_columns(word_index=pl.lit(i).cast(pl.Int64)).filter(
        pl.col("word") == "the") for i in range(20)])  # fmt: skip
    chart = lens_grid_figure(narrow, n_across=20)
    assert texts_in(chart)[0][0][0] == "</scr…"
    assert lens_grid_figure(GRID, words=range(3, 4)).panels[0].x.names == ("fox",)


def test_what_is_no_lens_grid_is_refused():
    with pytest.raises(ValueError, match=r"lens_grid_figure: got the tables \['table'\], without"):
        lens_grid_figure(GRID.drop("token"))
    cases: list[Any] = [
        (pl.concat([GRID, GRID]), {}),
        (GRID, {"words": range(5, 9)}),
        (GRID, {"n_across": 0}),
    ]
    for table, options in cases:
        with pytest.raises(ValueError, match=r"expected one row for each word and layer"):
            lens_grid_figure(table, **options)


@pytest.mark.parametrize("site", ["max", "last"])
@pytest.mark.parametrize("subset", ["text", "full"])
def test_the_grid_of_a_model_is_drawn_as_its_cells(model, utterances, site, subset):
    from slm_lens.lens.lens_grid import lens_grid

    grid = lens_grid(model, utterances[2], policy="whole_word", k=2, n_follow=0)
    of_site = grid.cells[site]
    chart: Any = lens_grid_figure(grid, site=site, subset=subset, n_across=50)
    (cells,) = cells_in(chart)
    assert cells == pytest.approx(of_site.top_log_prob[subset][..., 0].exp().numpy())
    (texts,) = texts_in(chart)
    for layer, row in enumerate(of_site.top_ids[subset][..., 0].tolist()):
        for column, token in enumerate(row):
            is_unit = token in grid.units
            wanted = str(grid.units[token][1]) if is_unit else grid.labels[token]
            assert texts[layer][column] in (wanted, f"{wanted[:2]}…")
    assert chart_of(grid).title == f"Lens grid of {grid.utterance}, {grid.provenance.name}"
    cases: list[Any] = [{"site": "position"}, {"subset": "speech"}]
    for options in cases:
        with pytest.raises(ValueError, match=r"lens_grid_figure: got site=.*which hold words"):
            lens_grid_figure(grid, **options)
