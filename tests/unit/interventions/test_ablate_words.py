"""Words projected out of the stream, beside plain hooks and numpy.

Tolerance: the engine resumes runs and attends through another kernel; measured at most 4e-6.
"""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hf_hooks import edited, logits_of
from tiny_speech import FUNCTION, N_TEXT, N_UNITS, WORDS

CLOSE = 2e-5


def by_hand(hf_model, sequence, layer, ids, start, end, until):
    """The three metrics with the rows of some tokens projected out of what leaves a block."""
    rows = hf_model.lm_head.weight.detach().double() * hf_model.model.norm.weight.double()
    q, _ = np.linalg.qr(rows[list(ids)].detach().numpy().T)

    def without(states):
        states = states.clone()
        held = states[0, start:until].double().numpy()
        states[0, start:until] = torch.tensor(held - held @ q @ q.T).float()
        return states

    with edited(hf_model, "resid_post", layer, without):
        logs = logits_of(hf_model, sequence.tokens[None])[0].double().log_softmax(-1)
    following = [logs[i, t].item() for i, t in enumerate(sequence.tokens[1:].tolist())]
    last = len(sequence) - 1
    units = range(N_TEXT, N_TEXT + N_UNITS)
    return {
        "units_at_word": np.mean(following[start : min(end, last)]) if start < last else None,
        "units_after": np.mean(following[end:last]) if end < last else None,
        "speech_at_word": logs[start:end, list(units)].exp().sum(1).mean().item(),
    }


@pytest.fixture(scope="module")
def found(model, utterances):
    from slm_lens.interventions.ablation.ablate_words import ablate_words

    return ablate_words(
        model,
        utterances[:4],
        policy="whole_word",
        layers=[0, 1],
        n_draws=3,
        n_text_directions=4,
        function_words=FUNCTION,
        n_bootstrap=40,
        seed=5,
    )


def test_every_word_is_as_by_hand(found, hf_model, utterances, vocab):
    n = 0
    for x in utterances[:4]:
        for i, span in enumerate(x.sequence.words):
            rows = found.table.filter(
                (pl.col("utterance") == x.name)
                & (pl.col("word_index") == i)
                & (pl.col("directions") == "word")
            )
            ids = vocab.word_tokens(span.word, "whole_word")
            if span.start == span.end or not ids:
                assert rows.is_empty()
                continue
            for layer in (0, 1):
                at = (span.start, span.end, span.end)
                wanted = by_hand(hf_model, x.sequence, layer, ids, *at)
                got = rows.filter(pl.col("layer") == layer)
                values = dict(zip(got["metric"], got["value"], strict=True))
                assert values.keys() == {k for k, v in wanted.items() if v is not None}
                for metric, value in values.items():
                    assert value == pytest.approx(wanted[metric], abs=CLOSE)
                    n += 1
    assert n > 60
    assert dict(found.words_without_tokens) == {"zyx": 1}
    assert found.table.filter(pl.col("directions") == "word")["effect"].abs().max() > 0.05


def test_the_baseline_is_the_run_as_it_is(found, hf_model, utterances):
    x = utterances[0]
    span = x.sequence.words[1]
    logs = logits_of(hf_model, x.sequence.tokens[None])[0].double().log_softmax(-1)
    following = [logs[i, t].item() for i, t in enumerate(x.sequence.tokens[1:].tolist())]
    rows = found.table.filter((pl.col("utterance") == x.name) & (pl.col("word_index") == 1))
    at_word = rows.filter(pl.col("metric") == "units_at_word")
    wanted = np.mean(following[span.start : span.end])
    assert at_word["baseline"].to_numpy() == pytest.approx(wanted, abs=CLOSE)
    assert (rows["value"] - rows["baseline"]).to_numpy() == pytest.approx(rows["effect"].to_numpy())


def test_matched_words_are_of_the_class_and_no_others(found, hf_model, utterances, vocab):
    x = utterances[0]
    i, span = 1, x.sequence.words[1]
    rows = found.table.filter(
        (pl.col("utterance") == x.name)
        & (pl.col("word_index") == i)
        & (pl.col("layer") == 1)
        & (pl.col("metric") == "speech_at_word")
    )
    matched = rows.filter(pl.col("directions") == "frequency_matched")
    assert matched["draw"].to_list() == [0, 1, 2]
    of_class = [w for w in WORDS if (w in FUNCTION) == (span.word in FUNCTION) and w != span.word]
    candidates = [
        by_hand(
            hf_model,
            x.sequence,
            1,
            vocab.word_tokens(w, "whole_word"),
            span.start,
            span.end,
            span.end,
        )["speech_at_word"]
        for w in of_class
    ]
    for value in matched["value"]:
        assert min(abs(value - c) for c in candidates) < CLOSE


def test_controls_have_as_many_directions_and_random_ones_differ(found):
    keys = ["utterance", "word_index", "layer"]
    one = found.table.filter(pl.col("metric") == "speech_at_word")
    for control, of in (("random", "word"), ("random_text", "text")):
        n = one.filter(pl.col("directions") == of).select(*keys, "n_directions")
        drawn = one.filter(pl.col("directions") == control).join(n, on=keys, suffix="_true")
        assert (drawn["n_directions"] == drawn["n_directions_true"]).all()
        assert drawn.group_by(keys).agg(pl.col("value").n_unique())["value"].min() == 3
    # Random subspaces hold their share of the width on average: 2 (or 1) and 4 of 16.
    share = one.group_by("directions").agg(pl.col("removed").mean(), pl.col("n_directions").mean())
    for name, removed, n in share.iter_rows():
        if name.startswith("random"):
            assert removed == pytest.approx(n / 16, abs=0.05)


def test_all_text_by_hand(found, hf_model, utterances, vocab):
    """By the eigenvectors of the rows of text, as `text_subspace` by another route."""
    x = utterances[1]
    span = x.sequence.words[0]
    rows = hf_model.lm_head.weight.detach().double() * hf_model.model.norm.weight.double()
    _, _, right = np.linalg.svd(rows[list(vocab.text)].detach().numpy())

    def without(states):
        states = states.clone()
        held = states[0, span.start : span.end].double().numpy()
        states[0, span.start : span.end] = torch.tensor(
            held - held @ right[:4].T @ right[:4]
        ).float()
        return states

    with edited(hf_model, "resid_post", 0, without):
        logs = logits_of(hf_model, x.sequence.tokens[None])[0].double().log_softmax(-1)
    wanted = logs[span.start : span.end, N_TEXT : N_TEXT + N_UNITS].exp().sum(1).mean().item()
    row = found.table.filter(
        (pl.col("utterance") == x.name)
        & (pl.col("word_index") == 0)
        & (pl.col("layer") == 0)
        & (pl.col("metric") == "speech_at_word")
        & (pl.col("directions") == "text")
    )
    assert row["value"].to_list() == pytest.approx([wanted], abs=CLOSE)


def test_the_next_word_until_the_end_of_the_run(model, hf_model, utterances, vocab):
    from slm_lens.interventions.ablation.ablate_words import ablate_words

    options = {"policy": "whole_word", "function_words": FUNCTION, "n_draws": 0, "n_bootstrap": 2}
    found = ablate_words(
        model, utterances[:1], word="next", until="end", kind="resid_pre", layers=[2], **options
    )
    sequence = utterances[0].sequence
    for row in found.table.iter_rows(named=True):
        span, after = sequence.words[row["word_index"]], sequence.words[row["word_index"] + 1]
        assert row["word"] == span.word
        ids = vocab.word_tokens(after.word, "whole_word")
        wanted = by_hand(hf_model, sequence, 1, ids, span.start, span.end, len(sequence))
        assert row["value"] == pytest.approx(wanted[row["metric"]], abs=CLOSE)
    assert set(found.table["directions"]) == {"word"}
    assert found.differences().is_empty()


def test_an_answer_is_measured_too(model, hf_model, utterances, vocab):
    from slm_lens.interventions import metrics
    from slm_lens.interventions.ablation.ablate_words import ablate_words
    from slm_lens.interventions.runs.measured_run import MeasuredRun

    x = utterances[0]
    found = ablate_words(
        model,
        [MeasuredRun(x.name, x.sequence, answer=(7,))],
        policy="whole_word",
        layers=[1],
        n_draws=0,
        metrics={"answer": metrics.log_prob()},
        function_words=FUNCTION,
    )
    span = x.sequence.words[2]
    rows = hf_model.lm_head.weight.detach() * hf_model.model.norm.weight.detach()
    q, _ = torch.linalg.qr(rows[list(vocab.word_tokens(span.word, "whole_word"))].T)

    def without(states):
        states = states.clone()
        states[0, span.start : span.end] -= states[0, span.start : span.end] @ q @ q.T
        return states

    with edited(hf_model, "resid_post", 1, without):
        wanted = logits_of(hf_model, x.sequence.tokens[None])[0, -1].log_softmax(-1)[7].item()
    row = found.table.filter((pl.col("metric") == "answer") & (pl.col("word_index") == 2))
    assert row["value"].to_list() == pytest.approx([wanted], abs=CLOSE)


def hand_made():
    """Two utterances of two words and one; effects by hand; two draws of each control."""
    from slm_lens.interventions.ablation.word_ablation import WordAblation
    from slm_lens.model.provenance import Provenance

    effects = {  # word: (true, draws of random, draws of matched)
        ("a", 0): (-1.0, (0.0, -0.2), (-0.5, -0.3)),
        ("a", 1): (-3.0, (0.2, 0.0), ()),
        ("b", 0): (-2.0, (0.1, 0.1), (-2.0, -1.0)),
    }
    rows = []
    for (name, i), (true, random, matched) in effects.items():
        sets = [("word", None, true), *(("random", d, e) for d, e in enumerate(random))]
        sets += [("frequency_matched", d, e) for d, e in enumerate(matched)]
        rows += [
            {
                "metric": "units_after",
                "utterance": name,
                "word_index": i,
                "word": "w",
                "is_content": True,
                "layer": 3,
                "directions": directions,
                "draw": draw,
                "n_directions": 2,
                "removed": 0.25,
                "baseline": 0.0,
                "value": effect,
                "effect": effect,
            }
            for directions, draw, effect in sets
        ]
    provenance = Provenance("m", "f", "A", "float32", "eager", None, False, False, None)
    return WordAblation(
        pl.DataFrame(rows), "current", "whole_word", 0, 2, 200, 0, {}, {"w": 1}, provenance
    )


def test_mean_effects_by_hand():
    by_name = {row["directions"]: row for row in hand_made().effects().to_dicts()}
    assert by_name["word"]["effect"] == pytest.approx(-2.0)
    assert by_name["word"]["n_words"] == 3
    # All from one utterance or the other: means of words are -2 in both.
    assert by_name["word"]["low"] == by_name["word"]["high"] == pytest.approx(-2.0)
    assert by_name["random"]["effect"] == pytest.approx((-0.1 + 0.1 + 0.1) / 3)
    assert by_name["random"]["low"] == pytest.approx(0.0)  # utterance a alone
    assert by_name["random"]["high"] == pytest.approx(0.1)  # utterance b alone
    assert by_name["frequency_matched"]["effect"] == pytest.approx((-0.4 - 1.5) / 2)
    assert by_name["word"]["removed"] == 0.25


def test_differences_by_hand():
    rows = {row["control"]: row for row in hand_made().differences().to_dicts()}
    assert rows["random"]["difference"] == pytest.approx(((-0.9) + (-3.1) + (-2.1)) / 3)
    assert rows["random"]["n_words"] == 3
    # Only words that have a match: -1 + 0.4 and -2 + 1.5.
    assert rows["frequency_matched"]["difference"] == pytest.approx(-0.55)
    assert rows["frequency_matched"]["n_words"] == 2
    # Two utterances of the same sign: two of four flips are as far from 0.
    assert rows["random"]["p_value"] == pytest.approx(0.5)
    assert "random_text" not in rows


def test_what_does_not_fit_is_refused(model, utterances):
    from tiny_speech import make_hf_model, wrap

    from slm_lens.errors import VocabError
    from slm_lens.interventions import metrics
    from slm_lens.interventions.ablation.ablate_words import ablate_words
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.vocab import SpeechTextVocab

    options: dict[str, Any] = {"policy": "whole_word", "function_words": FUNCTION, "n_draws": 1}
    with pytest.raises(ValueError, match="ablate_words: got 0 runs with the repeated names"):
        ablate_words(model, [], **options)
    own = {"units_after": metrics.log_prob()}
    with pytest.raises(ValueError, match=r"further metrics with the names \['units_after'\]"):
        ablate_words(model, utterances[:2], metrics=own, **options)
    with pytest.raises(ValueError, match="n_draws=-1, expected names other than"):
        ablate_words(model, utterances[:2], **{**options, "n_draws": -1})
    with pytest.raises(ValueError, match="sites: got layer 3 of a model"):
        ablate_words(model, utterances[:2], layers=[3], **options)
    silent = SpeechTextSequence(utterances[0].sequence.tokens, utterances[0].sequence.kinds, ())
    with pytest.raises(ValueError, match="ablate_words: found no spoken word with tokens and"):
        ablate_words(model, [Utterance("x", silent)], **options)
    units = SpeechTextVocab(d_vocab=72, text=(), streams={"units": range(72)})
    with pytest.raises(VocabError, match="ablate_words: the model 'tiny'"):
        ablate_words(wrap(make_hf_model(), units), utterances[:2], **options)
