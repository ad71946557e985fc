"""What interventions are easily given by mistake: refused in words, never taken for another."""

import math
from typing import Any, cast

import pytest
import torch
from tiny_pairs import whole_pair
from tiny_speech import FUNCTION, make_hf_model

import slm_lens

pytestmark = pytest.mark.usefixtures("untyped")


def test_ablate_words_knows_its_options(model, utterances):
    from slm_lens.interventions.ablation.ablate_words import ablate_words

    options: dict[str, Any] = {"policy": "whole_word", "function_words": FUNCTION, "n_draws": 0}
    for option, wrong, valid in (("word", "prev", "current"), ("until", "ever", "word")):
        given: dict[str, Any] = {**options, option: wrong}
        with pytest.raises(ValueError, match=rf"got {option}='{wrong}', expected one of .'{valid}"):
            ablate_words(model, utterances[:2], **given)


@pytest.mark.parametrize(
    ("vector", "strength", "error", "message"),
    [
        ([1.0] * 16, 1.0, TypeError, "Steering: got list for a vector, expected a tensor of"),
        (torch.ones(16).long(), 1.0, TypeError, r"got a tensor of torch\.int64 for a vector"),
        (torch.full((16,), torch.nan), 1.0, ValueError, "Steering: got a vector with NaN or"),
        (torch.ones(4, 16), 1.0, ValueError, r"got a vector of shape \(4, 16\) and strength=1"),
        (torch.tensor(1.0), 1.0, ValueError, r"got a vector of shape \(\) and strength=1"),
        (torch.ones(16), math.inf, ValueError, r"strength=inf, expected one vector, \[d_model\]"),
        (torch.ones(16), math.nan, ValueError, "strength=nan, expected one vector"),
    ],
)
def test_steering_takes_one_finite_vector(vector, strength, error, message):
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import Steering

    with pytest.raises(error, match=message):
        Steering(Site("resid_post", 1), vector, strength)


def test_a_dose_is_of_a_finite_vector(model, utterances):
    from slm_lens.interventions import metrics
    from slm_lens.interventions.runs.measured_run import MeasuredRun
    from slm_lens.interventions.steering.dose_response import dose_response

    runs = [MeasuredRun("a", utterances[0].sequence, answer=(3,))]
    one = {"a": metrics.log_prob()}
    with pytest.raises(TypeError, match="dose_response: got list for a vector"):
        dose_response(model, runs, cast(Any, [1.0] * 16), [1.0], one)
    with pytest.raises(ValueError, match="dose_response: got a vector with NaN or infinite"):
        dose_response(model, runs, torch.full((16,), torch.inf), [1.0], one)


def test_steering_that_reaches_nothing_is_refused(model, utterances):
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import Steering
    from slm_lens.interventions.steering.steered_generation import generate_steered

    prompt, site = utterances[0], Site("resid_post", 1)
    n = len(prompt.sequence)
    generate_steered(
        model, [prompt], Steering(site, torch.ones(16), 1.0, (n, None)), max_new_tokens=2
    )
    beyond = Steering(site, torch.ones(16), 1.0, (n + 1, None))
    with pytest.raises(
        ValueError, match=rf"got a steering from position {n + 1} on of 'sentence 0"
    ):
        generate_steered(model, [prompt], beyond, max_new_tokens=2)


def test_generation_without_steering_is_the_model_as_it_is(model, utterances):
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import Steering
    from slm_lens.interventions.steering.steered_generation import generate_steered

    nothing = Steering(Site("resid_post", 1), torch.ones(16), 0.0)
    without = generate_steered(model, utterances[:1], [], max_new_tokens=3)
    zero = generate_steered(model, utterances[:1], nothing, max_new_tokens=3)
    assert without.to_frame().equals(zero.to_frame())
    assert without.provenance.hooks == ()


@pytest.mark.parametrize(
    ("function", "arguments", "options"),
    [
        ("ablate_words", ([],), {"policy": "whole_word"}),
        ("modality_direction", (), {}),
        ("text_subspace", (2,), {}),
        ("organism_pairs", (), {}),
        ("read_pairs", ("pairs.csv",), {}),
    ],
)
def test_a_plain_bridge_has_no_words(function, arguments, options):
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    hf = make_hf_model()
    plain = build_bridge_from_module(hf, "Qwen2ForCausalLM", hf_config=hf.config).eval()
    with pytest.raises(TypeError, match=f"{function}: got a TransformerBridge that knows no voc"):
        getattr(slm_lens, function)(plain, *arguments, **options)


def test_metrics_have_names_and_strengths_are_several(model, utterances):
    from slm_lens.interventions import metrics

    runs = [slm_lens.MeasuredRun("a", utterances[0].sequence, answer=(3,))]
    answer, vector = metrics.log_prob(), torch.ones(16)
    with pytest.raises(TypeError, match=r"dose_response: got metrics as a list, .*by the names"):
        slm_lens.dose_response(model, runs, vector, [1.0], cast(Any, [answer]))
    with pytest.raises(TypeError, match=r"got strengths=2\.0, expected several. Give \[2\.0\]"):
        slm_lens.dose_response(model, runs, vector, cast(Any, 2.0), {"a": answer})
    with pytest.raises(ValueError, match=r"got no metric, .* such as \{\"answer\": log_prob\(\)\}"):
        slm_lens.dose_response(model, runs, vector, [1.0], {})


def test_noise_is_given_for_each_modality_and_metrics_as_a_list(model, utterances):
    runs = [slm_lens.MeasuredRun("a", utterances[0].sequence, (2, 3), answer=(3,))]
    with pytest.raises(
        TypeError, match=r"causal_trace: got sigma=1\.0, expected a number for each"
    ):
        slm_lens.causal_trace(model, runs, sigma=cast(Any, 1.0))
    with pytest.raises(ValueError, match=r"got no metric, .* such as \[answer_probability\(\)\]"):
        slm_lens.causal_trace(model, runs, metrics=[])


@pytest.mark.parametrize("function", ["attribute_nodes", "attribute_edges"])
def test_steps_are_whole(model, function):
    from slm_lens.interventions import metrics

    attribute = getattr(slm_lens, function)
    with pytest.raises(ValueError, match=rf"{function}: got steps=2\.5 .*expected a whole number"):
        attribute(model, [whole_pair()], metrics.log_prob(), steps=2.5)


@pytest.mark.parametrize("modalities", [["spech"], "speech", []])
def test_modalities_of_heads_are_known(model, utterances, modalities):
    with pytest.raises(ValueError, match=r"head_roles: got modalities=.*list of some of \('"):
        slm_lens.head_roles(model, utterances[:1], modalities=modalities)


def test_roles_of_matches_are_known():
    with pytest.raises(ValueError, match=r"SpanMatch 'fox': got role='chnged', expected one of"):
        slm_lens.SpanMatch("fox", cast(Any, "chnged"), (0, 1), (0, 1))


def test_a_strength_is_given_once_and_leaves_numbers(model, utterances):
    runs = [slm_lens.MeasuredRun("a", utterances[0].sequence, answer=(3,))]
    one = {"a": slm_lens.log_prob()}
    with pytest.raises(ValueError, match=r"got the strengths \[1.0, 2.0, 1.0\].* each once"):
        slm_lens.dose_response(model, runs, torch.ones(16), [1.0, 2.0, 1.0], one)
    runs = [slm_lens.MeasuredRun("a", utterances[0].sequence, answer=(3,), foil=(4,))]
    for metric in (slm_lens.log_prob(), slm_lens.logit_difference()):
        with pytest.raises(ValueError, match="got states that are not finite, expected numbers"):
            slm_lens.dose_response(model, runs, torch.full((16,), 100.0), [1e38], {"a": metric})


@pytest.mark.parametrize(
    "function", ["attribute_nodes", "attribute_edges", "patch_paths", "faithfulness"]
)
def test_a_metric_without_its_brackets_is_none(model, function):
    further = {"patch_paths": ([],), "faithfulness": ([],)}.get(function, ())
    for pairs, metric, message in (
        (
            [whole_pair()],
            slm_lens.logit_difference,
            "got .* function as the metric",
        ),
        (["zebra"], slm_lens.logit_difference(), r"got \['str'\] among the pairs"),
    ):
        with pytest.raises(TypeError, match=f"{function}: {message}"):
            getattr(slm_lens, function)(model, pairs, metric, *further)


@pytest.mark.parametrize("tokens", [[1, 2], torch.tensor([1.0, 2.0]), torch.tensor([True, False])])
def test_tokens_of_a_pair_are_a_tensor_of_whole_numbers(tokens):
    with pytest.raises(TypeError, match=r"pair_of_tokens: got .* as token ids, expected tensors"):
        slm_lens.pair_of_tokens("a", cast(Any, tokens), torch.tensor([1, 3]), [3])
