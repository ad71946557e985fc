"""Parts of logit differences against the model's logits and transformer-lens' own parts."""

import pytest
import torch
from tiny_pairs import (
    ANSWER,
    FOIL,
    N_TEXT,
    N_UNITS,
    gpt2_bridge,
    gqa_model,
    granite_bridge,
    opt_bridge,
    sequence,
    units,
)
from tiny_speech import make_utterances


@pytest.fixture(scope="module")
def model():
    return gqa_model()


@pytest.fixture(scope="module")
def utterances():
    return make_utterances(3, 3)


def divide(*args, **options):
    from slm_lens.interventions.attribution.direct import attribute_directly

    return attribute_directly(*args, **options)


def directions(model):
    from slm_lens.interventions.attribution.logit_directions import (
        logit_of_modality,
        logit_of_tokens,
        logit_of_unit,
    )

    return {
        "tokens": logit_of_tokens(model, [ANSWER], [FOIL]),
        "several": logit_of_tokens(model, [ANSWER, 3], [FOIL]),
        "unit": logit_of_unit(model, 7),
        "modality": logit_of_modality(model, "speech"),
    }


def expected_values(logits):
    units = slice(N_TEXT, N_TEXT + N_UNITS)
    return {
        "tokens": logits[ANSWER] - logits[FOIL],
        "several": (logits[ANSWER] + logits[3]) / 2 - logits[FOIL],
        "unit": logits[N_TEXT + 7] - logits[units].mean(),
        "modality": logits[units].mean() - logits[:N_TEXT].mean(),
    }


@pytest.mark.parametrize("at", [None, [2, 5, 4]])
@pytest.mark.parametrize("which", ["tokens", "several", "unit", "modality"])
def test_parts_sum_to_the_difference_of_the_logits(model, utterances, which, at):
    found = divide(model, utterances, directions(model)[which], positions=at)
    for i, utterance in enumerate(utterances):
        logits = model(utterance.sequence.tokens[None])[0, -1 if at is None else at[i]].detach()
        expected = expected_values(logits)[which].item()
        assert found.values[i].item() == pytest.approx(expected, abs=2e-5)


def test_they_are_the_metric(model, utterances):
    from slm_lens.interventions.metrics import Scored, logit_difference
    from slm_lens.lens.logit_lens import LogitLens

    found = divide(model, utterances, directions(model)["tokens"])
    for i, utterance in enumerate(utterances):
        _, cache = model.run_with_cache(utterance.sequence.tokens[None])
        scored = Scored((ANSWER,), (FOIL,), torch.tensor([-1]), None)
        with torch.no_grad():
            value = logit_difference()(
                LogitLens(model), cache["blocks.2.hook_resid_post"][:, -1:], scored
            )
        assert found.values[i].item() == pytest.approx(value.item(), abs=1e-5)


@pytest.mark.parametrize("make", [gqa_model, gpt2_bridge])
def test_parts_are_those_of_transformer_lens(make):
    """Its own stack, norm and projection; without compatibility mode it leaves out the gain."""
    from slm_lens.interventions.attribution.logit_directions import logit_of_tokens
    from slm_lens.sequence.utterance import Utterance

    model = make()
    run = sequence([N_TEXT + N_UNITS, *units(6, 1)])
    found = divide(model, [Utterance("a", run)], logit_of_tokens(model, [ANSWER], [FOIL]))
    scores = {
        part.label: score for part, score in zip(found.parts, found.scores[0].tolist(), strict=True)
    }
    logits, cache = model.run_with_cache(run.tokens[None])
    direction = (model.W_U[:, ANSWER] - model.W_U[:, FOIL]) * model.ln_final.weight
    for kind, (stack, labels) in {
        "parts": cache.decompose_resid(return_labels=True),
        "heads": cache.stack_head_results(return_labels=True),
    }.items():
        normed = cache.apply_ln_to_stack(stack[:, :, -1:], pos_slice=-1)[:, 0, 0]
        for label, score in zip(labels, (normed @ direction).tolist(), strict=True):
            layer = label.split("_")[0]
            if kind == "parts" and label.endswith("attn_out"):
                heads = [scores[f"L{layer}H{head}"] for head in range(4)]
                assert sum(heads) + scores[f"L{layer} attn_bias"] == pytest.approx(score, abs=1e-5)
            else:
                ours = f"L{layer} mlp" if label.endswith("mlp_out") else label
                assert scores[ours] == pytest.approx(score, abs=1e-5)
    value = (logits[0, -1, ANSWER] - logits[0, -1, FOIL]).item()
    assert found.values.item() == pytest.approx(value, abs=2e-5)
    assert sum(scores.values()) == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize("make", [gpt2_bridge, opt_bridge, granite_bridge])
def test_parts_of_other_models_sum_up(make):
    """Granite divides its logits after the unembedding; parts are what stands before."""
    from slm_lens.interventions.attribution.logit_directions import logit_of_tokens
    from slm_lens.sequence.utterance import Utterance

    model, run = make(), sequence([N_TEXT + N_UNITS, *units(6, 1)])
    found = divide(model, [Utterance("a", run)], logit_of_tokens(model, [ANSWER], [FOIL]))
    logits = model(run.tokens[None])[0, -1].detach()
    logits = logits * getattr(model.original_model.config, "logits_scaling", 1)
    assert found.values.item() == pytest.approx((logits[ANSWER] - logits[FOIL]).item(), abs=2e-5)
    heads = {(p.layer, p.head): s for p, s in zip(found.parts, found.scores[0], strict=True)}
    torch.testing.assert_close(found.sources[0][2, 1].sum(), heads[2, 1])


def test_heads_are_divided_by_what_they_read(model, utterances):
    """One source at a time: the pattern is set to zero elsewhere, and the head is read again."""
    utterance, vector = utterances[0], directions(model)["tokens"]
    tokens = utterance.sequence.tokens[None]
    found = divide(model, [utterance], vector)
    _, cache = model.run_with_cache(tokens)
    layer, head = 1, 3
    scale = cache["ln_final.hook_scale"][0, -1]
    for source in range(tokens.shape[1]):
        kept = torch.zeros_like(cache[f"blocks.{layer}.attn.hook_pattern"])
        kept[..., source] = cache[f"blocks.{layer}.attn.hook_pattern"][..., source]
        z = torch.einsum(
            "qs,se->qe", kept[0, head], cache[f"blocks.{layer}.attn.hook_v"][0, :, head // 2]
        )
        o_proj = model.original_model.model.layers[layer].self_attn.o_proj.weight
        vectors = z[-1] @ o_proj.T[4 * head : 4 * head + 4]
        gain = model.original_model.model.norm.weight
        expected = (vectors / scale * gain) @ vector.vector
        got = found.sources[0][layer, head, source].item()
        assert got == pytest.approx(expected.item(), abs=1e-5)


def test_tables_sum_to_the_parts(model, utterances):
    found = divide(
        model, utterances, [directions(model)[k] for k in ("tokens", "unit", "modality")]
    )
    frame, words = found.to_frame(), found.words()
    assert frame["direction"].unique(maintain_order=True).to_list() == list(found.directions)
    assert found.directions[1] == "<Un7> - mean units"
    for i, utterance in enumerate(utterances):
        own = frame.filter(utterance=utterance.name)
        assert own["score"].sum() == pytest.approx(found.values[i].item(), abs=1e-5)
        layer = own.filter(layer=2)["score"].sum()
        assert found.by_layer()[i, 2].item() == pytest.approx(layer, abs=1e-5)
        of_head = words.filter(utterance=utterance.name, layer=1, head=2)
        part = own.filter(part="L1H2")["score"].item()
        assert of_head["score"].sum() == pytest.approx(part, abs=1e-5)
        spoken = utterance.sequence.words
        assert of_head["label"].to_list() == [*(word.word for word in spoken), None]
        third = found.sources[i][1, 2, spoken[2].start : spoken[2].end].sum().item()
        assert of_head["score"][2] == pytest.approx(third, abs=1e-6)
    top = found.top(4)
    assert top["score"].abs().to_list() == sorted(frame["score"].abs(), reverse=True)[:4]


@pytest.mark.usefixtures("untyped")
def test_what_cannot_be_divided_is_refused(model, utterances):
    from slm_lens.errors import VocabError
    from slm_lens.interventions.attribution.logit_directions import (
        logit_of_modality,
        logit_of_tokens,
        logit_of_unit,
    )

    vector = directions(model)["tokens"]
    with pytest.raises(ValueError, match="attribute_directly: got utterances named"):
        divide(model, [], vector)
    with pytest.raises(ValueError, match="attribute_directly: got utterances named"):
        divide(model, [utterances[0]] * 2, vector)
    with pytest.raises(ValueError, match="3 utterances, 1 directions and 3 positions"):
        divide(model, utterances, [vector])
    with pytest.raises(ValueError, match="3 utterances, 3 directions and 1 positions"):
        divide(model, utterances, vector, positions=[1])
    with pytest.raises(ValueError, match=r"got positions \[99\]"):
        divide(model, utterances[:1], vector, positions=[99])
    for answer, foil in (([], []), ([3], [3]), ([72], [])):
        with pytest.raises(ValueError, match="logit_of_tokens: got answer"):
            logit_of_tokens(model, answer, foil)
    with pytest.raises(VocabError, match="expected 0 <= unit < 20"):
        logit_of_unit(model, 20)
    with pytest.raises(ValueError, match="logit_of_modality: got 'sound'"):
        logit_of_modality(model, "sound")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="top: got n=0"):
        divide(model, utterances, vector).top(0)


def test_heads_that_are_no_pattern_times_values_are_refused(model, utterances):
    def gated(value, hook):  # noqa: ARG001 (given by name)
        return value / 3

    with (
        model.hooks(fwd_hooks=[("blocks.1.attn.hook_z", gated)]),
        pytest.raises(ValueError, match="what heads read from all positions is off by"),
    ):
        divide(model, utterances, directions(model)["tokens"])
