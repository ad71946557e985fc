"""Word tables read through a fitted lens: its numbers by hand, and its name beside them."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_speech import FUNCTION, make_hf_model, wrap

from slm_lens.lens.lens_facts import TunedLensFacts
from slm_lens.lens.states import residual_stack
from slm_lens.lens.tuned_lens import TunedLens, unembedding_hash
from slm_lens.lens.word_lens import LOGIT_LENS, read_word_lens, word_lens
from slm_lens.phases.measure import measure_phases
from slm_lens.phases.result import read_phases
from slm_lens.studies.phase_study import study_phases
from slm_lens.views.phases_figure import phases_figure

OPTIONS = {"function_words": FUNCTION, "policy": "whole_word", "n_draws": 4, "seed": 5}


@pytest.fixture(scope="module")
def fitted(model):
    """Numbers drawn at random; said to be fitted at text positions."""
    n_layers, d_model = model.cfg.n_layers, model.cfg.d_model
    generator = torch.Generator().manual_seed(7)
    return TunedLens(
        model,
        weight=torch.randn(n_layers, d_model, d_model, generator=generator),
        bias=torch.randn(n_layers, d_model, generator=generator),
        facts=TunedLensFacts("text", 3, 30, unembedding_hash(model)),
    )


@pytest.fixture(scope="module")
def through(model, utterances, fitted):
    return word_lens(model, utterances, lens=fitted, **OPTIONS)


def test_an_unfitted_lens_gives_the_table_of_the_logit_lens(model, utterances, lens_of_words):
    plain = TunedLens(model)
    table = word_lens(model, utterances, lens=plain, **OPTIONS)
    assert table.table.equals(lens_of_words.table)
    assert table.lens == plain.name
    assert lens_of_words.lens == LOGIT_LENS


def test_ranks_by_hand(model, vocab, utterances, fitted, through, lens_of_words):
    """h + A h + b, final norm, unembedding and the rank, in numpy and float64."""
    utterance = utterances[0]
    stack = residual_stack(model, utterance.sequence.tokens[None])[:, 0].double().numpy()
    gain = model.get_submodule("ln_final").weight.detach().double().numpy()
    W_U = model.W_U.detach().double().numpy()
    is_text = vocab.mask("text").numpy()
    first = through.table.filter(utterance=utterance.name).sort("word_index", "layer")
    n_compared = 0
    for row in first.rows(named=True):
        word = utterance.sequence.words[row["word_index"]]
        ids = vocab.word_tokens(word.word, "whole_word")
        if row["layer"] == model.cfg.n_layers or not ids:
            continue
        h = stack[row["layer"], word.start : word.end]
        weight = fitted.weight[row["layer"]].double().numpy()
        moved = h + h @ weight.T + fitted.bias[row["layer"]].double().numpy()
        scale = np.sqrt((moved**2).mean(-1, keepdims=True) + model.cfg.eps)
        pooled = ((moved / scale * gain) @ W_U).max(0)
        best = pooled[list(ids)].max()
        assert row["rank_current_text_max"] == 1 + (pooled[is_text] > best).sum()
        n_compared += 1
    assert n_compared > 5
    last = model.cfg.n_layers  # left as it is
    assert through.table.filter(layer=last).equals(lens_of_words.table.filter(layer=last))
    assert not through.table.equals(lens_of_words.table)


def test_the_lens_is_written_beside_the_numbers(through, fitted, tmp_path):
    assert fitted.name.startswith("tuned lens (text, ")
    through.write(tmp_path)
    assert read_word_lens(tmp_path).lens == through.lens == fitted.name
    phases = measure_phases(through, n_bootstrap=0)
    assert phases.summary()["lens"] == phases.lens == fitted.name
    phases.write(tmp_path)
    assert read_phases(tmp_path).lens == fitted.name
    shown = [t.get_text() for t in phases_figure(phases).matplotlib().axes[0].texts]
    assert any(fitted.name in text for text in shown)


def test_other_numbers_have_another_name(model, fitted):
    moved = TunedLens(model, weight=fitted.weight, bias=fitted.bias + 1, facts=fitted.facts)
    assert moved.name != fitted.name


def test_tables_of_different_lenses_are_not_compared(through, lens_of_words):
    for one, other in ((through, lens_of_words), (lens_of_words, through)):
        with pytest.raises(ValueError, match=r"control 'x' was read through the .*, the model thr"):
            measure_phases(one, n_bootstrap=0, controls={"x": other})
    same = dataclasses.replace(through, table=through.table.clone())
    measure_phases(through, n_bootstrap=0, controls={"x": same})


def test_a_lens_of_another_model_is_refused(vocab, utterances, fitted):
    torch.manual_seed(3)
    hf_model = make_hf_model()
    with torch.no_grad():
        hf_model.model.embed_tokens.weight.mul_(1.5)
    with pytest.raises(ValueError, match=r"word_lens: got a lens of a model whose unembedding"):
        word_lens(wrap(hf_model, vocab), utterances, lens=fitted, **OPTIONS)


def test_a_study_through_a_lens_has_no_control_with_random_weights(model, utterances, fitted):
    options = {"policy": "whole_word", "n_draws": 2, "n_bootstrap": 0}
    study = study_phases(model, utterances, lens=fitted, **options)
    assert study.words.lens == study.phases.lens == fitted.name
    assert not study.phases.control_provenance
    plain = study_phases(model, utterances, **options)
    assert set(plain.phases.control_provenance) == {"random weights"}
