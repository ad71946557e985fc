import dataclasses
import json
import math

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from tiny_speech import (
    D_VOCAB,
    FUNCTION,
    N_TEXT,
    N_UNITS,
    WORDS,
    make_hf_model,
    make_utterances,
    wrap,
)

from slm_lens.lens.control_words import N_NEAREST
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import residual_stack
from slm_lens.lens.targets import TargetPlan
from slm_lens.lens.word_lens import read_word_lens, word_lens
from slm_lens.phases.measure import measure_phases
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS, word_type
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import Modality, WordSpan

OPTIONS = {"function_words": FUNCTION, "policy": "whole_word", "n_draws": 4, "seed": 5}


def sentence(name, words, *, modality: Modality = "speech"):
    """Two tokens for each word, after a marker."""
    n = 2 * len(words)
    first, size = (N_TEXT, N_UNITS) if modality == "speech" else (0, N_TEXT)
    tokens = torch.tensor([N_TEXT + N_UNITS, *(first + i % size for i in range(n))])
    spans = tuple(WordSpan(w, modality, 1 + 2 * i, 3 + 2 * i) for i, w in enumerate(words))
    kinds = ("marker",) + (modality,) * n
    return Utterance(name, SpeechTextSequence(tokens, kinds, spans))


def plan_of(vocab, utterances, **changes):
    options = {"word_counts": None, **OPTIONS, **changes}
    return TargetPlan(vocab, utterances, **options)


def test_every_number_of_one_word_by_hand(model, vocab, utterances, lens_of_words):
    """One word at one layer, recomputed with sorts and sums of full softmaxes."""
    u, layer = utterances[0], 2
    i, w = next((i, w) for i, w in enumerate(u.sequence.words) if w.word == "bear")
    row = lens_of_words.table.filter(utterance=u.name, word_index=i, layer=layer).row(0, named=True)
    tokens = u.sequence.tokens
    stack = residual_stack(model, tokens[None])[layer, 0, w.start : w.end]
    logits = LogitLens(model)(stack)

    follower = u.sequence.words[i + 1].word
    assert (row["word"], row["next_word"], row["is_content"]) == ("bear", follower, True)
    assert row["n_positions"] == w.end - w.start > 1
    for target, word in (("current", "bear"), ("next", follower)):
        ids = [t for t, s in vocab.labels.items() if s.strip() == word]
        assert row[f"n_targets_{target}"] == len(ids) == 2
        for pool, scores in (("max", logits.amax(0)), ("last", logits[-1])):
            order = scores.argsort(descending=True).tolist()
            in_text = [t for t in order if t < N_TEXT]
            assert row[f"rank_{target}_full_{pool}"] == 1 + min(order.index(t) for t in ids)
            assert row[f"rank_{target}_text_{pool}"] == 1 + min(in_text.index(t) for t in ids)
    p = logits.softmax(-1)
    assert row["text_mass"] == pytest.approx(p[:, :N_TEXT].sum(-1).mean().item(), abs=1e-6)
    speech = slice(N_TEXT, N_TEXT + N_UNITS)
    assert row["speech_mass"] == pytest.approx(p[:, speech].sum(-1).mean().item(), abs=1e-6)
    top = logits.argsort(-1, descending=True)
    assert row["text_argmax"] == pytest.approx((top[:, 0] < N_TEXT).float().mean().item())
    assert row["text_top10"] == pytest.approx((top[:, :10] < N_TEXT).float().mean().item())
    after = tokens[w.start + 1 : w.end + 1]
    units = [1 + (z[speech] > z[t]).sum().item() for z, t in zip(logits, after, strict=True)]
    assert row["rank_next_unit"] == units[-1]
    mean = sum(1 / r for r in units) / len(units)
    assert row["reciprocal_rank_next_unit"] == pytest.approx(mean)
    assert row["next_unit_hit"] == pytest.approx((top[:, 0] == after).double().mean().item())


def test_one_row_for_each_word_with_a_position_and_each_layer(lens_of_words, utterances):
    spoken = [
        (u.name, i) for u in utterances for i, w in enumerate(u.sequence.words) if w.end > w.start
    ]
    table = lens_of_words.table
    expected = [(name, i, layer) for name, i in spoken for layer in range(4)]
    assert table.select("utterance", "word_index", "layer").rows() == expected
    empty = utterances[1].sequence.words[2].word
    assert lens_of_words.words_without_positions == {empty: 1}


def test_a_word_without_tokens_is_kept_and_counted(lens_of_words):
    assert lens_of_words.words_without_tokens == {"zyx": 1}
    rows = lens_of_words.table.filter(word="zyx")
    assert len(rows) == 4
    columns = [c for c in rows.columns if c.split("_")[0] in ("rank", "shuffled", "frequency")]
    of_current = [c for c in columns if "current" in c]
    assert len(of_current) == 8
    assert all(rows[c].null_count() == 4 for c in of_current)
    assert rows["text_mass"].null_count() == 0


def test_the_last_word_has_no_next_word_and_repeated_words_meet(model):
    data = [sentence("a", ["fox", "fox", "runs"]), sentence("b", ["dog", "owl", "sees"])]
    table = word_lens(model, data, **OPTIONS).table.filter(layer=0, utterance="a")
    assert table["next_word"].to_list() == ["fox", "runs", None]
    assert table["next_targets_meet"].to_list() == [True, False, False]
    assert table["n_targets_next"].to_list() == [0, 2, 0]
    for pool in ("max", "last"):
        known = table[f"rank_next_full_{pool}"].is_not_null().to_list()
        assert known == [False, True, False]
        drawn = table[f"shuffled_next_text_{pool}"].is_not_null().to_list()
        assert drawn == [False, True, False]


def test_written_words_have_no_rows_but_can_come_next(model):
    spoken = sentence("a", ["fox", "runs", "deep"]).sequence
    words = (
        spoken.words[0],
        dataclasses.replace(spoken.words[1], modality="text"),
        spoken.words[2],
    )
    kinds = (*spoken.kinds[:3], "text", "text", *spoken.kinds[5:])
    mixed = Utterance("a", dataclasses.replace(spoken, words=words, kinds=kinds))
    table = word_lens(model, [mixed], **{**OPTIONS, "n_draws": 0}).table.filter(layer=0)
    assert table["word"].to_list() == ["fox", "deep"]
    assert table["next_word"].to_list() == ["runs", None]
    assert table["next_modality"].to_list() == ["text", None]
    assert table["rank_next_text_last"].is_not_null().to_list() == [True, False]


def test_positions_that_no_unit_follows_are_left_out(model):
    table = word_lens(model, [sentence("a", ["fox"])], **{**OPTIONS, "n_draws": 0}).table
    assert table["rank_next_unit"].null_count() == 4  # the clip ends with the word
    assert table["reciprocal_rank_next_unit"].null_count() == 0  # its first position is followed


@pytest.fixture(scope="module")
def one_by_one(model, utterances):
    return word_lens(model, utterances[:4], **OPTIONS)


@pytest.mark.parametrize("batch_size", [3, 4])
def test_batched_is_the_same_as_one_by_one(model, utterances, one_by_one, batch_size):
    again = word_lens(
        model,
        utterances[:4],
        **OPTIONS,
        batch_size=batch_size,
    )
    # Ranks are equal; masses differ by at most 2e-6 (float32, other order of sums).
    assert_frame_equal(again.table, one_by_one.table, abs_tol=1e-5, rel_tol=0)
    ranks = [
        c for c in again.table.columns if again.table[c].dtype in (pl.Int32, pl.List(pl.Int32))
    ]
    assert again.table.select(ranks).equals(one_by_one.table.select(ranks))


def test_another_seed_draws_other_controls_and_changes_nothing_else(model, utterances, one_by_one):
    again = word_lens(model, utterances[:4], **{**OPTIONS, "seed": 6}).table
    table = one_by_one.table
    drawn = [c for c in table.columns if c.startswith(("shuffled", "frequency"))]
    assert len(drawn) == 8
    assert not any(again[c].equals(table[c]) for c in drawn)
    assert again.drop(drawn).equals(table.drop(drawn))


def test_shuffled_words_are_of_other_utterances_and_the_same_class(vocab, utterances):
    plan = plan_of(vocab, utterances, n_draws=50)
    of_class = {
        (u, word in FUNCTION): [
            w.word
            for v in range(len(utterances))
            if v != u
            for w in utterances[v].sequence.words
            if w.word != "zyx"
        ]
        for u in range(len(utterances))
        for word in ("the", "fox")
    }
    checked = 0
    for u, utterance in enumerate(utterances):
        for i, w in enumerate(utterance.sequence.words):
            targets = plan.word(u, utterance.sequence.words, i)
            if not targets.current:
                assert targets.shuffled_current == targets.matched_current == ()
                continue
            allowed = {
                plan.tokens(x)
                for x in of_class[u, w.word in FUNCTION]
                if (x in FUNCTION) == (w.word in FUNCTION) and x != w.word
            }
            assert len(targets.shuffled_current) == 50
            assert set(targets.shuffled_current) <= allowed
            checked += 1
    assert checked > 30


def test_shuffled_words_come_as_often_as_they_are_said(vocab):
    data = [sentence("a", ["fox"]), sentence("b", ["dog"] * 9 + ["owl"])]
    plan = plan_of(vocab, data, n_draws=1000)
    drawn = plan.word(0, data[0].sequence.words, 0).shuffled_current
    share = drawn.count(plan.tokens("dog")) / 1000
    assert abs(share - 0.9) < 3 * math.sqrt(0.9 * 0.1 / 1000)


def test_matched_words_are_the_nearest_in_frequency(vocab):
    content = [w for w in WORDS if w not in FUNCTION]
    data = [sentence("a", content), sentence("b", ["the", "a"])]
    counts = {w: 2**i for i, w in enumerate(content)}
    plan = plan_of(vocab, data, n_draws=200, word_counts=counts)
    middle = 7
    matched = plan.word(0, data[0].sequence.words, middle).matched_current
    nearest = sorted(
        (w for w in content if w != content[middle]),
        key=lambda w: abs(math.log1p(counts[w]) - math.log1p(counts[content[middle]])),
    )[:N_NEAREST]
    assert set(matched) == {plan.tokens(w) for w in nearest}
    assert len(content) - 1 > N_NEAREST
    # Without counts of a corpus, the utterances are counted: each of these is said once.
    assert plan_of(vocab, data).log_count("fox") == math.log(2)
    assert plan.log_count("unheard") == 0


@pytest.mark.parametrize("policy", ["whole_word", "first_piece", "prefixes"])
def test_the_policy_decides_which_tokens_count(model, policy):
    data = [sentence("a", ["zyx", "fox"]), sentence("b", ["dog", "runs"])]
    lens = word_lens(model, data, **{**OPTIONS, "policy": policy})
    counts = dict(lens.table.select("word", "n_targets_current").rows())
    # "zyx" is spelled in letters, of which there are z, y, x and the space. "x" begins no form of
    # it; "z" does, with or without the space that is its own piece.
    expected = {"whole_word": (0, 2), "first_piece": (2, 2), "prefixes": (1, 2)}[policy]
    assert (counts["zyx"], counts["fox"]) == expected
    assert lens.policy == policy
    assert lens.words_without_tokens == ({"zyx": 1} if policy == "whole_word" else {})


def test_no_word_to_draw_gives_null_controls(model):
    data = [sentence("a", ["fox"]), sentence("b", ["the"])]
    table = word_lens(model, data, **OPTIONS).table
    assert table["rank_current_text_max"].null_count() == 0
    assert table["shuffled_current_text_max"].null_count() == len(table)
    assert table["frequency_matched_current_text_max"].null_count() == len(table)


def test_written_and_read_back(lens_of_words, tmp_path):
    lens_of_words.write(tmp_path / "new")
    again = read_word_lens(tmp_path / "new")
    assert again.table.equals(lens_of_words.table)
    for field in dataclasses.fields(again):
        if field.name != "table":
            assert again.__dict__[field.name] == lens_of_words.__dict__[field.name]
    assert again.d_vocab == D_VOCAB
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "word_lens.json",
        "word_lens.parquet",
    ]


def test_the_table_says_what_its_numbers_depend_on(vocab, utterances, lens_of_words):
    plain = lens_of_words.provenance
    assert (plain.name, lens_of_words.model, plain.family) == ("tiny", "tiny", "by hand")
    assert (plain.architecture, plain.dtype) == ("Qwen2ForCausalLM", "float32")
    assert (plain.attention, plain.forward) == ("sdpa", "fast")
    assert not plain.compatibility_mode

    half = wrap(make_hf_model().to(torch.bfloat16), vocab)
    folded = wrap(make_hf_model(), vocab)
    folded.enable_compatibility_mode(disable_warnings=True)
    through_hooks = "attention 'eager' instead of 'sdpa', forward 'hooked' instead of 'fast'"
    hooked = {"attention": "eager", "forward": "hooked"}
    for other, changes, message in (
        (wrap(make_hf_model(), vocab), hooked, through_hooks),
        (half, {"dtype": "bfloat16"}, "dtype 'bfloat16' instead of 'float32'"),
        (
            folded,
            hooked | {"compatibility_mode": True, "weights_processed": True},
            f"{through_hooks}, compatibility_mode True instead of False, weights_processed True",
        ),
    ):
        forward = "hooked" if changes is hooked else "auto"
        lens = word_lens(other, utterances, **OPTIONS, forward=forward)
        assert lens.provenance == dataclasses.replace(plain, **changes)
        with pytest.raises(ValueError, match=f"control 'other' was read with {message}"):
            measure_phases(lens_of_words, n_bootstrap=0, controls={"other": lens})


def test_a_table_without_provenance_is_refused(lens_of_words, tmp_path):
    with pytest.raises(LookupError, match=r"read_word_lens: no word_lens\.json and no word_lens"):
        read_word_lens(tmp_path)
    lens_of_words.write(tmp_path)
    facts = json.loads((tmp_path / "word_lens.json").read_text())
    facts["model"] = facts.pop("provenance")["name"]
    (tmp_path / "word_lens.json").write_text(json.dumps(facts))
    with pytest.raises(
        ValueError, match=r"read_word_lens: .*lacks \['provenance'\] and has \['model'\] besides"
    ):
        read_word_lens(tmp_path)


@pytest.mark.parametrize(
    ("utterances", "changes", "message"),
    [
        ([], {}, r"got 0 utterances"),
        ([sentence("a", ["fox"])] * 2, {}, r"repeated names \['a'\]"),
        ([sentence("a", ["fox"])], {}, r"one utterance with n_draws=4, expected at least two"),
        ([sentence("a", ["fox"])], {"n_draws": -1}, r"n_draws=-1"),
        ([sentence("a", ["fox"])], {"batch_size": 0}, r"batch_size=0"),
        ([sentence("a", ["fox"], modality="text")], {"n_draws": 0}, r"found no spoken word"),
    ],
)
def test_data_that_cannot_be_read_are_refused(model, utterances, changes, message):
    with pytest.raises(ValueError, match=message):
        word_lens(model, utterances, **{**OPTIONS, **changes})


def test_function_words_are_lower_case_types_without_repeats_of_content_words():
    assert {"the", "of", "and", "not", "they're", "would"} <= ENGLISH_FUNCTION_WORDS
    assert ENGLISH_FUNCTION_WORDS.isdisjoint({"fox", "river", "run", "red", "quickly", ""})
    assert all(word_type(w) == w for w in ENGLISH_FUNCTION_WORDS)
    assert [word_type(w) for w in (" The", "fox,", "Don't!")] == ["the", "fox", "don't"]


def test_utterances_of_the_fixture_are_what_the_tests_assume():
    first, again = make_utterances(3, 3), make_utterances(3, 3)
    assert all(a.sequence.words == b.sequence.words for a, b in zip(first, again, strict=True))
