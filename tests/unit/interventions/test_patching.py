"""Patching pairs: identities, hand calculations, and transformer-lens' own sweep."""

from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tiny_pairs import plain_bridge
from tiny_speech import D_VOCAB, N_TEXT, make_hf_model, make_vocab, wrap
from transformer_lens import patching as their_patching
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from slm_lens.interventions.metrics import (
    answer_rank,
    divergence,
    log_prob,
    logit_difference,
    modality_mass,
    next_unit_log_prob,
)
from slm_lens.interventions.pairs.matching import SpanMatch, match_runs
from slm_lens.interventions.pairs.run_pair import RunPair, pair_of_tokens
from slm_lens.interventions.patching.patch_pairs import patch_pairs
from slm_lens.interventions.patching.patching_result import SCHEMA, Patching
from slm_lens.interventions.site import Site, sites
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import WordSpan

ANSWER, FOIL = (1,), (5, 7)


def spoken(words, units, *, seed=0):
    """Words of so many units each, after a marker."""
    rng = np.random.default_rng(seed)
    tokens, spans = [D_VOCAB - 8], []
    for word, n in zip(words, units, strict=True):
        spans.append(WordSpan(word, "speech", len(tokens), len(tokens) + n))
        tokens += (N_TEXT + rng.integers(20, size=n)).tolist()
    kinds = ("marker",) + ("speech",) * (len(tokens) - 1)
    return SpeechTextSequence(torch.tensor(tokens), kinds, tuple(spans))


def pair_of(clean, corrupted, name="one", **options):
    matches = match_runs(clean, corrupted, **options)
    return RunPair(name, clean, corrupted, ANSWER, FOIL, matches)


@pytest.fixture(scope="module")
def equal():
    """As many units in both runs, every position matched."""
    clean = spoken(["the", "fox", "runs"], [2, 3, 2], seed=1)
    corrupted = spoken(["the", "dog", "runs"], [2, 3, 2], seed=2)
    every = SpanMatch("<every>", "changed", (0, 8), (0, 8))
    return RunPair("equal", clean, corrupted, ANSWER, FOIL, (every,))


@pytest.fixture(scope="module")
def unequal():
    clean = spoken(["the", "fox", "runs"], [2, 3, 2], seed=1)
    corrupted = spoken(["the", "dog", "runs"], [2, 5, 1], seed=2)
    return pair_of(clean, corrupted, "unequal")


def values(result, metric="logit_difference"):
    return result.table.filter(pl.col("metric") == metric)["patched"].to_numpy()


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_everything_at_the_first_layer_swaps_the_runs(model, equal, direction):
    metrics = [logit_difference(), divergence(), answer_rank()]
    result = patch_pairs(model, [equal], metrics=metrics, direction=direction, at="all", layers=[0])
    for row in result.table.iter_rows(named=True):
        other = row["clean"] if direction == "denoising" else row["corrupted"]
        assert row["patched"] == pytest.approx(other, abs=1e-4)
    share = result.recovery("logit_difference")["recovery"]
    assert share.to_list() == pytest.approx([1.0], abs=1e-4)


def test_a_run_into_itself_changes_nothing(model, equal):
    same = RunPair("same", equal.clean, equal.clean, ANSWER, FOIL, equal.matches)
    for kind in ("resid_pre", "attn_out", "z", "pattern"):
        fit = "equal" if kind == "pattern" else "warp"
        result = patch_pairs(model, [same], kind, metrics=[log_prob()], at="positions", fit=fit)
        effect = result.to_frame()["effect"].to_numpy()
        assert np.abs(effect).max() < 1e-4


def test_the_baselines_are_the_models_own(model, unequal):
    result = patch_pairs(model, [unequal], metrics=[logit_difference(), log_prob(), divergence()])
    with torch.no_grad():
        clean, corrupted = (
            model(run.tokens[None])[0, -1].double() for run in (unequal.clean, unequal.corrupted)
        )
    of = {r["metric"]: (r["clean"], r["corrupted"]) for r in result.table.iter_rows(named=True)}
    for i, logits in enumerate((clean, corrupted)):
        p = logits.softmax(-1)
        odds = (p[1] / (p[5] + p[7])).log().item()
        assert of["logit_difference"][i] == pytest.approx(odds, abs=1e-4)
        assert of["log_prob"][i] == pytest.approx(p[1].log().item(), abs=1e-4)
        gap = (clean.softmax(-1) * (clean.log_softmax(-1) - logits.log_softmax(-1))).sum().item()
        assert of["kl"][i] == pytest.approx(gap, abs=1e-4)


def test_words_of_unequal_length_are_warped(model, unequal):
    """By hand: five target positions from three, at the middles of five equal parts."""
    result = patch_pairs(model, [unequal], metrics=[logit_difference()], layers=[1])
    (changed,) = unequal.of_role("changed")
    assert (changed.clean, changed.corrupted) == ((3, 6), (3, 8))
    with torch.no_grad():
        _, cache = model.run_with_cache(unequal.clean.tokens[None])
    source = cache["blocks.1.hook_resid_pre"][0, 3:6].numpy()
    places = [0.0, 0.4, 1.0, 1.6, 2.0]  # (i + 1/2) 3/5 - 1/2, and no further than the ends
    new = np.stack([np.interp(places, range(3), column) for column in source.T], axis=1)

    def put(state, **_):
        state = state.clone()
        state[0, 3:8] = torch.tensor(new)
        return state

    with torch.no_grad():
        tokens = unequal.corrupted.tokens[None]
        logits = model.run_with_hooks(tokens, fwd_hooks=[("blocks.1.hook_resid_pre", put)])[0, -1]
    wanted = logits[1] - logits[[5, 7]].logsumexp(0)
    row = result.table.row(by_predicate=pl.col("role") == "changed", named=True)
    assert row["patched"] == pytest.approx(wanted.item(), abs=1e-4)
    assert (row["label"], row["position"]) == ("fox", 7)


def test_states_go_from_one_layer_to_another(model, equal):
    result = patch_pairs(
        model, [equal], "resid_post", metrics=[log_prob()], at="all", layers=[0], source_layers=[1]
    )
    with torch.no_grad():
        _, cache = model.run_with_cache(equal.clean.tokens[None])

    def put(_state, **_):
        return cache["blocks.1.hook_resid_post"]

    with torch.no_grad():
        logits = model.run_with_hooks(
            equal.corrupted.tokens[None], fwd_hooks=[("blocks.0.hook_resid_post", put)]
        )
    (row,) = result.table.iter_rows(named=True)
    assert (row["layer"], row["source_layer"]) == (0, 1)
    assert row["patched"] == pytest.approx(logits[0, -1].log_softmax(-1)[1].item(), abs=1e-4)


def llama():
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=D_VOCAB, **sizes, **heads, initializer_range=0.3)
    )


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=D_VOCAB, n_embd=16, n_layer=3, n_head=4, initializer_range=0.3)
    )


@pytest.mark.parametrize("make", [make_hf_model, llama, gpt2])
@pytest.mark.parametrize("kind", ["resid_pre", "attn_out", "mlp_out", "z"])
def test_the_sweep_is_transformer_lens(equal, make, kind):
    bridge = plain_bridge(make().eval())
    heads = "each" if kind == "z" else None
    result = patch_pairs(
        bridge, [equal], kind, metrics=[logit_difference()], at="positions", heads=heads
    )
    with torch.no_grad():
        _, cache = bridge.run_with_cache(equal.clean.tokens[None])

    def metric(logits):
        return logits[0, -1, 1] - logits[0, -1, [5, 7]].logsumexp(0)

    sweep = {
        "resid_pre": their_patching.get_act_patch_resid_pre,
        "attn_out": their_patching.get_act_patch_attn_out,
        "mlp_out": their_patching.get_act_patch_mlp_out,
        "z": their_patching.get_act_patch_attn_head_out_by_pos,
    }[kind]
    with torch.no_grad():
        theirs = sweep(bridge, equal.corrupted.tokens[None], cache, metric)
    if kind == "z":  # [layer, pos, head]; ours by head, then position
        theirs = theirs.transpose(1, 2)
    assert np.abs(values(result) - theirs.flatten().numpy()).max() < 1e-4
    assert np.ptp(values(result)) > 0.1


def test_our_result_becomes_theirs(model, equal, unequal):
    both = [equal, RunPair("two", equal.corrupted, equal.clean, FOIL, ANSWER, equal.matches)]
    result = patch_pairs(model, both, metrics=[log_prob(), logit_difference()], at="positions")
    theirs = result.to_patching_result("log_prob")
    assert theirs.values.shape == (3 * 8, 2)
    rows = result.to_frame().filter(metric="log_prob", pair="two")
    assert theirs.effect()[:, 1].tolist() == pytest.approx(rows["effect"].to_list())
    assert theirs.index_df["layer"].tolist() == rows["layer"].to_list()
    mixed = patch_pairs(model, [equal, unequal], metrics=[log_prob()], at="positions")
    with pytest.raises(ValueError, match="2 pairs with different cells"):
        mixed.to_patching_result("log_prob")


def made(rows, direction: Any = "denoising"):
    """A result with chosen numbers: (pair, role, clean, corrupted, patched)."""
    table = pl.DataFrame(
        [
            (pair, "resid_pre", 0, None, 0, role, role, 1, "log_prob", clean, corrupted, patched)
            for pair, role, clean, corrupted, patched in rows
        ],
        schema=SCHEMA,
        orient="row",
    )
    return Patching(table, direction, "words", "warp", "resumed", None)


def test_recovery_by_hand_is_not_clipped():
    rows = [("a", "changed", 3.0, 1.0, 2.0), ("a", "end", 3.0, 1.0, 0.0), ("b", "end", 1, 2, 0.5)]
    result = made(rows)
    assert result.recovery("log_prob")["recovery"].to_list() == [0.5, -0.5, 1.5]
    noising = made(rows, "noising")
    assert noising.recovery("log_prob")["recovery"].to_list() == [0.5, 1.5, -0.5]
    assert result.to_frame()["effect"].to_list() == [1.0, -1.0, -1.5]
    assert noising.to_frame()["effect"].to_list() == [-1.0, -3.0, -0.5]


def test_recovery_refuses_pairs_that_hardly_differ():
    result = made([("a", "end", 3.0, 1.0, 2.0), ("b", "end", 1.0, 1.0, 2.0)])
    with pytest.raises(ValueError, match=r"1 of 2 pairs whose clean.*such as \['b'\]"):
        result.recovery("log_prob")
    assert result.recovery("log_prob", small="leave_out")["pair"].to_list() == ["a"]
    summary = result.summary("log_prob", small="leave_out", n_bootstrap=0)
    assert summary.select("n_pairs", "n_left_out").row(0) == (1, 1)
    with pytest.raises(ValueError, match="1 of 1 pairs"):
        made([("b", "end", 1.0, 1.0, 2.0)]).recovery("log_prob", small="leave_out")
    with pytest.raises(ValueError, match="got the metric 'rank'"):
        result.recovery("rank")


def test_a_metric_of_ones_own_units_has_no_recovery(model, unequal):
    result = patch_pairs(model, [unequal], metrics=[next_unit_log_prob()])
    assert result.table["clean"].null_count() == len(result.table)
    assert result.to_frame()["effect"].null_count() == 0
    with pytest.raises(ValueError, match="do not measure the same"):
        result.recovery("next_unit_log_prob")
    noising = patch_pairs(model, [unequal], metrics=[next_unit_log_prob()], direction="noising")
    assert noising.table["corrupted"].null_count() == len(noising.table)


def test_statistics_over_pairs_by_hand():
    """Words of a pair are averaged first; the p-value is the share of the 2^3 sign patterns."""
    rows = [
        ("a", "before", 1.0, 0.0, 0.2), ("a", "before", 1.0, 0.0, 0.4),
        ("b", "before", 1.0, 0.0, 0.5), ("c", "before", 2.0, 0.0, 1.8),
    ]  # fmt: skip
    summary = made(rows).summary("log_prob", n_bootstrap=500, seed=1)
    (row,) = summary.iter_rows(named=True)
    shares = [0.3, 0.5, 0.9]
    assert row["estimate"] == pytest.approx(np.mean(shares))
    assert (row["role"], row["n_pairs"]) == ("before", 3)
    assert row["p_value"] == pytest.approx(2 / 8)  # all signs alike
    assert min(shares) <= row["low"] < row["estimate"] < row["high"] <= max(shares)
    effects = made(rows).summary("log_prob", value="effect", by=(), n_bootstrap=0)
    assert effects["estimate"].to_list() == pytest.approx([np.mean([0.3, 0.5, 1.8])])
    with pytest.raises(ValueError, match="got value='recovery' and by"):
        made(rows).summary("log_prob", by=("layer",))


def test_patterns_need_the_same_positions(model, equal, unequal):
    by_position = patch_pairs(
        model, [equal], "pattern", metrics=[log_prob()], at="positions", fit="equal", heads="each"
    )
    assert np.abs(by_position.to_frame()["effect"].to_numpy()).max() > 1e-3
    with pytest.raises(ValueError, match="attention patterns of runs whose positions differ"):
        patch_pairs(model, [unequal], "pattern", metrics=[log_prob()])


@pytest.mark.usefixtures("untyped")
def test_what_does_not_fit_is_refused(model, equal, unequal):
    patch: Any = partial(patch_pairs, model, [equal], metrics=[log_prob()])
    of: Any = sites
    with pytest.raises(ValueError, match=r"got the pairs \[\]"):
        patch_pairs(model, [], metrics=[log_prob()])
    with pytest.raises(ValueError, match=r"got the pairs \['equal', 'equal'"):
        patch_pairs(model, [equal, equal], metrics=[log_prob()])
    with pytest.raises(ValueError, match=r"got the metrics \['log_prob', 'log_prob'"):
        patch_pairs(model, [equal], metrics=[log_prob(), log_prob(within="text")])
    with pytest.raises(ValueError, match="got at='word'"):
        patch(at="word")
    with pytest.raises(ValueError, match="layer 3 of a model of 3 layers"):
        patch(layers=[3])
    with pytest.raises(ValueError, match="head 4 of 'z'"):
        patch(kind="z", heads=[4])
    with pytest.raises(ValueError, match="expected a head only for"):
        patch(heads=[0])
    with pytest.raises(ValueError, match="layer 7 of a model"):
        patch(source_layers=[7])
    with pytest.raises(ValueError, match="source_layers='all'"):
        patch(source_layers="all")
    with pytest.raises(ValueError, match="direction='both'"):
        patch(direction="both")
    with pytest.raises(ValueError, match="got fit='stretch'"):
        patch(fit="stretch")
    with pytest.raises(ValueError, match="3 and 5 positions, expected equal lengths"):
        patch_pairs(model, [unequal], metrics=[log_prob()], fit="equal")
    with pytest.raises(ValueError, match=r"within='speech' and the tokens \[1\] of \['text'\]"):
        patch_pairs(model, [equal], metrics=[log_prob(within="speech")])
    with pytest.raises(ValueError, match="got kind 'resid'"):
        of(model, "resid")
    with pytest.raises(ValueError, match="got no site"):
        sites(model, "z", layers=[])


@pytest.mark.usefixtures("untyped")
def test_tokens_of_unequal_runs_make_no_pair(equal):
    with pytest.raises(ValueError, match=r"shape \(8,\) and \(7,\), expected two runs"):
        pair_of_tokens("t", equal.clean.tokens, equal.corrupted.tokens[1:], ANSWER)


@pytest.mark.usefixtures("untyped")
def test_slips_are_named(model, equal):
    patch: Any = partial(patch_pairs, model)
    slips: list[tuple[dict[str, Any], str]] = [
        ({"pairs": equal}, "got RunPair as pairs, expected a list"),
        ({"metrics": log_prob()}, "got _LogProb as metrics, expected a list"),
        ({"metrics": [log_prob]}, r"got \['function'\] among the metrics"),
        ({"layers": 2}, r"layers=2, expected whole numbers in a list"),
        ({"layers": [1.5]}, r"layers=\[1.5\], expected whole numbers"),
        ({"layers": [1, 1]}, r"layers=\[1, 1\], expected no number twice"),
        ({"heads": "all", "kind": "z"}, "heads='all', expected whole numbers"),
        ({"heads": [1, 1], "kind": "z"}, "heads=.*expected no number twice"),
        ({"source_layers": [1, 1]}, "source_layers=.*expected no number twice"),
        ({"source_layers": 1}, "source_layers=1, expected whole numbers"),
    ]
    for options, message in slips:
        with pytest.raises((TypeError, ValueError), match=message):
            patch(**{"pairs": [equal], "metrics": [log_prob()]} | options)


def test_metrics_of_one_kind_have_names_of_their_own(model, equal):
    masses = [modality_mass("text", name="text"), modality_mass("speech", name="speech")]
    table = patch_pairs(model, [equal], metrics=masses, at="all", layers=[0]).table
    text, speech = (table.filter(metric=m)["clean"].item() for m in ("text", "speech"))
    with torch.no_grad():
        p = model(equal.clean.tokens[None])[0, -1].softmax(-1)
    assert text == pytest.approx(p[model.vocab.mask("text")].sum().item(), abs=1e-5)
    assert speech == pytest.approx(p[model.vocab.mask("speech")].sum().item(), abs=1e-5)


def test_a_pair_of_tokens_matches_every_position(model, equal):
    ours = pair_of_tokens("t", equal.clean.tokens, equal.corrupted.tokens, ANSWER, FOIL)
    assert [m.clean for m in ours.matches] == [m.corrupted for m in ours.matches]
    assert [m.clean for m in ours.matches] == [(i, i + 1) for i in range(8)]
    differs = equal.clean.tokens != equal.corrupted.tokens
    assert [m.role == "changed" for m in ours.matches] == differs.tolist()
    metrics = [logit_difference()]
    one = patch_pairs(model, [ours], metrics=metrics, at="words")
    other = patch_pairs(model, [equal], metrics=metrics, at="positions")
    assert values(one).tolist() == pytest.approx(values(other).tolist(), abs=1e-5)


def test_no_token_counts_twice(equal):
    for answer, foil in (((7, 7), ()), ((7,), (3, 3)), ((7,), (7,)), ((), ())):
        with pytest.raises(ValueError, match="at least one token of an answer, and no token twice"):
            RunPair("p", equal.clean, equal.corrupted, answer, foil, equal.matches)


def test_hooks_on_the_unembedding_are_refused(equal):
    model = wrap(make_hf_model(), make_vocab())
    triple = lambda x, hook: 3 * x  # noqa: ARG005, E731 (TransformerLens names them)
    with (
        model.hooks(fwd_hooks=[("unembed.hook_in", triple)]),
        pytest.raises(ValueError, match=r"got hooks on \['unembed.hook_in'\], expected none"),
    ):
        patch_pairs(model, [equal], metrics=[log_prob()])


def test_a_site_has_the_name_of_its_hook():
    assert Site("resid_mid", 2).hook == "blocks.2.hook_resid_mid"
    assert (Site("z", 0, 3).hook, Site("z", 0, 3).label) == ("blocks.0.attn.hook_z", "L0H3 z")


def test_keys_have_fewer_heads(model):
    assert len(sites(model, "k", heads="each", layers=[0])) == 2
    assert len(sites(model, "q", heads="each", layers=[0])) == 4
