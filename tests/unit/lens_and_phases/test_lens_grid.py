"""Every cell of a lens grid against materialised logits in numpy and float64."""

import dataclasses
import json
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch
from tiny_speech import D_VOCAB, N_TEXT, N_UNITS, make_hf_model

from slm_lens.lens.grid_files import read_lens_grids, write_lens_grids
from slm_lens.lens.grid_result import Followed
from slm_lens.lens.lens_grid import lens_grid
from slm_lens.lens.tuned_lens import TunedLens
from slm_lens.lens.word_lens import word_lens
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.utterance import Utterance

IDS = {"text": np.arange(N_TEXT), "full": np.arange(D_VOCAB)}
MASSES = {"text": range(N_TEXT), "speech": range(N_TEXT, N_TEXT + N_UNITS)}
MASSES["other"] = range(N_TEXT + N_UNITS, D_VOCAB)
K = 4


@pytest.fixture(scope="module")
def utterance(utterances):
    """Sentence 1 has a word without a position, sentence 2 one without a token."""
    return utterances[2]


@pytest.fixture(scope="module")
def grid(model, utterance):
    return lens_grid(model, utterance, policy="whole_word", k=K, n_follow=6)


@pytest.fixture(scope="module")
def logits(utterance):
    """``[layer, pos, d_vocab]`` from the plain Hugging Face model, norm and product in float64."""
    hf = make_hf_model()
    with torch.no_grad():
        tokens = utterance.sequence.tokens[None]
        last = []
        hook = hf.model.norm.register_forward_pre_hook(lambda _, given: last.append(given[0]))
        states = hf.model(tokens, output_hidden_states=True).hidden_states
        hook.remove()
    h = torch.stack([*states[:-1], last[0]])[:, 0].double().numpy()
    h = h / np.sqrt((h**2).mean(-1, keepdims=True) + hf.config.rms_norm_eps)
    return (
        h
        * hf.model.norm.weight.double().detach().numpy()
        @ (hf.lm_head.weight.double().detach().numpy().T)
    )


def rows_of(logits, spans, site):
    if site == "max":
        return np.stack([logits[:, a:b].max(1) for a, b in spans], 1)
    return np.stack([logits[:, b - 1] for _, b in spans], 1)


def log_softmax(z):
    return z - z.max(-1, keepdims=True) - np.log(
        np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True)
    )  # fmt: skip


@pytest.mark.parametrize("site", ["max", "last", "position"])
def test_cells_equal_materialised_logits(grid, logits, site):
    cells = grid.cells[site]
    z = rows_of(logits, cells.spans.tolist(), site)
    probability = np.exp(log_softmax(z))
    for i, members in enumerate(MASSES.values()):
        expected = probability[..., list(members)].sum(-1)
        assert cells.mass[..., i].numpy() == pytest.approx(expected, abs=1e-5)
    for subset, ids in IDS.items():
        log_p = np.full(z.shape, -np.inf)
        log_p[..., ids] = log_softmax(z[..., ids])
        order = np.argsort(-log_p, -1, kind="stable")[..., :K]
        assert (cells.top_ids[subset].numpy() == order).all()
        best = np.take_along_axis(log_p, order, -1)
        assert cells.top_log_prob[subset].numpy() == pytest.approx(best, abs=1e-4)
        for f, followed in enumerate(grid.followed):
            found = cells.rank[subset][..., f].numpy()
            if not set(followed.tokens) <= set(ids.tolist()):
                assert (found == 0).all()
                assert cells.log_prob[subset][..., f].isnan().all()
                continue
            best = log_p[..., list(followed.tokens)].max(-1)
            assert (found == 1 + (log_p > best[..., None]).sum(-1)).all()
            assert cells.log_prob[subset][..., f].numpy() == pytest.approx(best, abs=1e-4)


def test_rows_are_words_and_positions(grid, utterance):
    words = utterance.sequence.words
    spoken = [i for i, w in enumerate(words) if w.start < w.end]
    assert grid.cells["max"].words == grid.cells["last"].words == tuple(spoken)
    assert grid.cells["max"].spans.tolist() == [[words[i].start, words[i].end] for i in spoken]
    of_position: list[int | None] = [None] * len(utterance.sequence)
    for i in spoken:
        for p in range(words[i].start, words[i].end):
            of_position[p] = i
    assert grid.cells["position"].words == tuple(of_position)
    assert grid.cells["position"].spans.tolist() == [[p, p + 1] for p in range(len(of_position))]
    assert grid.subsets == ("text", "full")


def test_what_is_followed(grid, model, utterance):
    words = [f for f in grid.followed if f.is_word]
    spellings = list(dict.fromkeys(w.word for w in utterance.sequence.words))
    known = [w for w in spellings if model.vocab.word_tokens(w, "whole_word")]
    assert [f.label for f in words] == known
    assert "zyx" in spellings
    assert "zyx" not in known  # no token
    for w, f in zip(utterance.sequence.words, grid.word_followed, strict=True):
        assert (f is None) == (w.word == "zyx")
        if f is not None:
            assert grid.followed[f].label == w.word
    seen = [t for s in grid.subsets for t in grid.cells["max"].top_ids[s].flatten().tolist()]
    more = [f.tokens[0] for f in grid.followed if not f.is_word]
    assert more == sorted(set(seen), key=lambda t: (-seen.count(t), t))[:6]


def test_a_token_that_is_asked_for_comes_first(model, utterance):
    grid = lens_grid(
        model, utterance, policy="whole_word", follow=[7, 3, 7], n_follow=0, positions=False
    )
    assert [f for f in grid.followed if not f.is_word] == [
        Followed(model.vocab.label(t), (t,), False) for t in (7, 3)
    ]
    assert set(grid.cells) == {"max", "last"}


def test_ranks_are_those_of_the_word_table(model, utterances):
    """Two ways through the same engine: targets of a whole table, and what a grid follows."""
    table = word_lens(
        model, utterances, function_words=frozenset(), policy="whole_word", n_draws=0
    ).table
    for utterance in utterances[:4]:
        frame = lens_grid(model, utterance, policy="whole_word", positions=False).to_frame()
        rows = table.filter(pl.col("utterance") == utterance.name)
        for site in ("max", "last"):
            mine = frame.filter(pl.col("site") == site).sort("row", "layer")
            assert mine["word_index"].to_list() == rows["word_index"].to_list()
            for which in ("current", "next"):
                for subset in ("text", "full"):
                    name = f"rank_{which}_{subset}"
                    assert mine[name].to_list() == rows[f"{name}_{site}"].to_list(), name
                    assert mine[f"log_prob_{which}_{subset}"].is_null().to_list() == (
                        mine[name].is_null().to_list()
                    )


def test_the_table_says_what_the_cells_say(grid):
    frame = grid.to_frame()
    assert len(frame) == sum(c.n_layers * c.n_rows for c in grid.cells.values())
    row = frame.filter(site="max", layer=2, row=1).row(0, named=True)
    cells = grid.cells["max"]
    word = cells.words[1]
    assert row["word"] == grid.words[word].word
    assert row["next_word"] == grid.words[word + 1].word
    assert (row["start"], row["end"]) == tuple(cells.spans[1].tolist())
    assert row["top_text_ids"] == cells.top_ids["text"][2, 1].tolist()
    assert row["top_full_labels"] == [grid.labels[t] for t in cells.top_ids["full"][2, 1].tolist()]
    assert row["top_full_log_prob"] == cells.top_log_prob["full"][2, 1].tolist()
    assert row["followed_rank_text"] == cells.rank["text"][2, 1].tolist()
    assert row["speech_mass"] == cells.mass[2, 1, 1].item()


def test_without_words_positions_are_read(model, utterance):
    sequence = utterance.sequence
    bare = Utterance("bare", SpeechTextSequence(sequence.tokens, sequence.kinds, ()))
    grid = lens_grid(model, bare, policy="whole_word", n_follow=0)
    assert set(grid.cells) == {"position"}
    assert grid.followed == ()
    assert grid.cells["position"].rank["text"].shape == (4, len(sequence), 0)
    assert grid.to_frame()["rank_current_text"].is_null().all()


def test_an_unfitted_lens_changes_nothing_but_the_name(model, utterance, grid):
    lens = TunedLens(model)
    through = lens_grid(model, utterance, policy="whole_word", k=K, n_follow=6, lens=lens)
    assert through.lens == lens.name
    assert through.to_frame().equals(grid.to_frame())


def test_it_is_read_back_from_files(grid, model, utterances, tmp_path):
    other = lens_grid(model, utterances[0], policy="whole_word", k=K, positions=False)
    write_lens_grids([grid, other], tmp_path)
    found = read_lens_grids(tmp_path)
    for one, again in zip((grid, other), found, strict=True):
        assert again.to_frame().equals(one.to_frame())
        assert again.tokens.equal(one.tokens)
        for field in dataclasses.fields(one):
            if field.name not in ("tokens", "cells"):
                assert getattr(again, field.name) == getattr(one, field.name), field.name
        for site, cells in one.cells.items():
            assert again.cells[site].words == cells.words
            assert again.cells[site].spans.equal(cells.spans)
            assert again.cells[site].mass.equal(cells.mass)


class TestRefused:
    def test_wishes(self, model, utterance):
        wrongs: list[dict[str, Any]] = [{"k": 0}, {"n_follow": -1}, {"follow": [D_VOCAB]}]
        for wrong in wrongs:
            with pytest.raises(ValueError, match=r"lens_grid: got k=.*expected k >= 1"):
                lens_grid(model, utterance, policy="whole_word", **wrong)

    def test_nothing_to_read(self, model, utterance):
        sequence = utterance.sequence
        bare = Utterance("bare", SpeechTextSequence(sequence.tokens, sequence.kinds, ()))
        with pytest.raises(ValueError, match=r"'bare' has no word with a position"):
            lens_grid(model, bare, policy="whole_word", positions=False)

    @pytest.mark.usefixtures("untyped")
    def test_another_lens(self, model, utterance):
        with pytest.raises(TypeError, match=r"lens_grid: got a str as lens, expected a TunedLens"):
            lens_grid(model, utterance, policy="whole_word", lens=cast(Any, "logit lens"))

    def test_grids_that_do_not_belong_together(self, grid, tmp_path):
        with pytest.raises(ValueError, match=r"write_lens_grids: got grids of \[\] that differ"):
            write_lens_grids([], tmp_path)
        with pytest.raises(ValueError, match=r"each of another utterance"):
            write_lens_grids([grid, grid], tmp_path)
        another = dataclasses.replace(grid, utterance="x", k=9)
        with pytest.raises(ValueError, match=r"differ in \['k'\]"):
            write_lens_grids([grid, another], tmp_path)

    def test_another_version(self, grid, tmp_path):
        write_lens_grids([grid], tmp_path)
        path = tmp_path / "lens_grids.json"
        facts = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(facts | {"schema_version": 0}), encoding="utf-8")
        with pytest.raises(ValueError, match=r"has schema version 0, expected 1"):
            read_lens_grids(tmp_path)
        with pytest.raises(LookupError, match=r"read_lens_grids: no lens_grids"):
            read_lens_grids(tmp_path / "nowhere")


def test_every_token_is_named(grid, vocab):
    tops = [ids.flatten() for c in grid.cells.values() for ids in c.top_ids.values()]
    for token in torch.cat([grid.tokens, *tops]).unique().tolist():
        assert grid.labels[token] == vocab.label(token)
        is_unit = N_TEXT <= token < N_TEXT + N_UNITS
        assert grid.units.get(token) == (("units", token - N_TEXT) if is_unit else None)
        assert (grid.label_kinds[token] == "speech") == is_unit
    assert (grid.n_text, grid.d_vocab, grid.n_layers) == (N_TEXT, D_VOCAB, 3)
