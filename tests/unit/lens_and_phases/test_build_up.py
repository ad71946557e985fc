"""The build-up of words, held against the word table and logits at single positions."""

from typing import Any

import polars as pl
import pytest
import torch
from planted import planted_clips, planted_model, spoken

from slm_lens.lens.build_up import word_build_up
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import residual_stack
from slm_lens.lens.word_lens import word_lens

OPTIONS: dict[str, Any] = {
    "function_words": frozenset({"river"}),
    "policy": "whole_word",
    "n_draws": 4,
}


@pytest.fixture(scope="module")
def model():
    return planted_model(planted=False, seed=3)


@pytest.fixture(scope="module")
def utterances():
    return [spoken(c) for c in planted_clips(3, n_words=4, seed=2)]


@pytest.fixture(scope="module")
def build_up(model, utterances):
    return word_build_up(model, utterances, **OPTIONS)


def test_rows_of_whole_words_are_those_of_the_word_table(model, utterances, build_up):
    table = word_lens(model, utterances, **OPTIONS).table
    whole = build_up.table.filter(pl.col("n_heard") == pl.col("n_units"))
    columns = [c for c in table.columns if c != "n_positions"]
    assert whole.select(columns).equals(table.select(columns))


def test_every_beginning_is_read_at_its_position_and_over_its_positions(
    model, utterances, build_up
):
    lens, n_text = LogitLens(model), len(model.vocab.text)
    assert len(build_up.table) == 3 * 4 * 4 * (build_up.n_layers + 1)  # words, cuts, layers
    logits = [lens(residual_stack(model, u.sequence.tokens[None])[:, 0])[..., :n_text]
              for u in utterances]  # fmt: skip
    for row in build_up.table.iter_rows(named=True):
        number = [u.name for u in utterances].index(row["utterance"])
        span = utterances[number].sequence.words[row["word_index"]]
        (target,) = model.vocab.word_tokens(row["word"], "whole_word")
        here = logits[number][row["layer"]]
        last = here[span.start + row["n_heard"] - 1]
        first = span.start if row["n_heard"] else span.start - 1
        so_far = here[first : span.start + row["n_heard"]].amax(0)
        for pool, values in (("last", last), ("max", so_far)):
            expected = 1 + int((values > values[target]).sum())
            assert row[f"rank_current_text_{pool}"] == expected
        assert row["n_units"] == 3
        assert row["heard_from"] is None


def test_shares_of_time_by_hand(model, utterances):
    # Each word lasts 0.2 s; here its units end after a tenth, a half and all of it.
    times = []
    for utterance in utterances:
        times_s = torch.full((len(utterance.sequence), 2), torch.nan)
        for w in utterance.sequence.words:
            assert w.start_s is not None
            edges = torch.tensor([-0.02, 0.02, 0.1, 0.2]) + w.start_s
            times_s[w.start : w.end] = torch.stack([edges[:-1], edges[1:]], 1)
        times.append(times_s)
    build_up = word_build_up(model, utterances, times_s=times, **OPTIONS)
    one = build_up.table.filter(layer=0, word_index=1, utterance="clip 0")
    assert one["heard_from"].to_list()[1:] == pytest.approx([-0.1, 0.1, 0.5], abs=1e-6)
    assert one["heard_to"].to_list()[1:] == pytest.approx([0.1, 0.5, 1.0], abs=1e-6)
    assert one["heard_from"][0] is None
    at = build_up.at_shares([0.0, 0.05, 0.3, 0.49, 0.7, 1.0], heard="time")
    one = at.filter(layer=0, word_index=1, utterance="clip 0")
    assert one["n_heard"].to_list() == [0, 1, 2, 2, 3, 3]
    assert one["share"].to_list() == [0.0, 0.05, 0.3, 0.49, 0.7, 1.0]


def test_shares_of_units_by_hand(build_up):
    at = build_up.at_shares([0.0, 0.2, 1 / 3, 0.34, 2 / 3, 0.9, 1.0], heard="units")
    one = at.filter(layer=2, word_index=0, utterance="clip 1")
    assert one["n_heard"].to_list() == [0, 1, 1, 2, 2, 3, 3]
    assert len(at) == 7 * 12 * 7  # shares, words, layers


def test_what_cannot_be_read_is_refused(model, utterances, build_up):
    with pytest.raises(ValueError, match=r"got shares \[0.5, 1.2\], expected some in \[0, 1\]"):
        build_up.at_shares([0.5, 1.2], heard="units")
    with pytest.raises(ValueError, match=r"got heard='time' for words without times"):
        build_up.at_shares([0.5], heard="time")
    with pytest.raises(ValueError, match=r"got 2 utterances of 1 names, expected at least one"):
        word_build_up(model, [utterances[0]] * 2, **OPTIONS)
    with pytest.raises(ValueError, match=r"got times_s that are not in step"):
        word_build_up(model, utterances, times_s=[torch.zeros(3, 2)] * 3, **OPTIONS)
    no_draws: dict[str, Any] = OPTIONS | {"n_draws": 0}
    no_words = type(utterances[0])("none", type(utterances[0].sequence)(
        utterances[0].sequence.tokens, utterances[0].sequence.kinds, ()))  # fmt: skip
    with pytest.raises(ValueError, match=r"found no spoken word with a position in 1 utterances"):
        word_build_up(model, [no_words], **no_draws)
