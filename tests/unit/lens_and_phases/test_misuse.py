"""What a lens is easily given by mistake: refused in words, never read as something else."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
from tiny_speech import FUNCTION, make_hf_model, make_utterances, make_vocab, wrap

import slm_lens
from slm_lens import FitSettings, LogitLens, TunedLens, component_stack, residual_stack, word_lens

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
OPTIONS: dict[str, Any] = {"function_words": FUNCTION, "policy": "whole_word", "n_draws": 0}


@pytest.fixture
def model():
    return wrap(make_hf_model(), make_vocab())


@pytest.fixture
def stack(model):
    return residual_stack(model, TOKENS)


@pytest.mark.parametrize("forward", ["fast", "hooked"])
def test_runs_of_several_threads_do_not_mix(model, forward):
    rows = [
        torch.randint(20, (1, 30), generator=torch.Generator().manual_seed(i)) for i in range(6)
    ]
    alone = [residual_stack(model, row, forward=forward) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda i: residual_stack(model, rows[i % 6], forward=forward), range(24))
        for i, states in enumerate(found):
            assert torch.allclose(states, alone[i % 6], atol=1e-4)


def test_nothing_asks_for_gradients_unless_told(model, stack):
    targets = torch.tensor([3, 4])
    read = LogitLens(model).readout(stack, "log_prob", "entropy", targets=targets)
    assert not read.log_prob["full"].requires_grad
    assert not read.entropy["full"].requires_grad


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(1, 5, dtype=torch.bool), r"mask of shape \(1, 5\) .* tokens of shape \(1, 8\)"),
        (torch.ones(1, 8), r"mask of shape \(1, 8\) and torch.float32"),
        (torch.tensor([[False] + [True] * 7]), r"padding before real tokens"),
    ],
)
@pytest.mark.usefixtures("untyped")
def test_masks_that_do_not_fit(model, mask, message):
    for forward in ("fast", "hooked"):
        with pytest.raises(ValueError, match=r"residual_stack: got a .*" + message):
            residual_stack(model, TOKENS, mask, forward=forward)
    with pytest.raises(ValueError, match=r"component_stack: got a .*" + message):
        component_stack(model, TOKENS, "attn_out", attention_mask=mask)


@pytest.mark.usefixtures("untyped")
def test_tokens_of_one_sequence(model):
    with pytest.raises(ValueError, match=r"residual_stack: got tokens of shape \(8,\) .*\[None\]"):
        residual_stack(model, TOKENS[0])
    with pytest.raises(ValueError, match=r"component_stack: got tokens of shape \(8,\)"):
        component_stack(model, TOKENS[0], "heads")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_states_that_are_not_finite(model, stack, bad):
    stack[1, 0, 2] = bad
    lens = LogitLens(model)
    with pytest.raises(ValueError, match=r"readout: got states that are not finite"):
        lens.readout(stack, "mass")
    with pytest.raises(ValueError, match=r"readout: got states that are not finite"):
        lens.readout_words(stack[:, 0], torch.tensor([[0, 3]]), "mass")


def test_hooks_are_named_by_what_was_read_with_them(model):
    utterances = make_utterances(4, 0)[:1]
    clean = word_lens(model, utterances, forward="hooked", **OPTIONS)
    model.add_hook("blocks.1.hook_resid_post", lambda value, hook: 0 * value)  # noqa: ARG005
    ablated = word_lens(model, utterances, **OPTIONS)
    assert clean.provenance.hooks == ()
    assert ablated.provenance.hooks == ("blocks.1.hook_out",)  # its name without the alias
    assert "hooks on blocks.1.hook_out" in ablated.provenance.in_words()
    (difference,) = ablated.provenance.differences(clean.provenance)
    assert difference == "hooks ('blocks.1.hook_out',) instead of ()"


def test_hooks_on_the_final_norm(model, stack):
    lens = LogitLens(model)
    model.add_hook("ln_final.hook_normalized", lambda value, hook: 0 * value)  # noqa: ARG005
    with pytest.raises(ValueError, match=r"LogitLens: got hooks on \['ln_final.hook_normalized'\]"):
        lens.readout(stack, "entropy")
    model.reset_hooks()
    lens.readout(stack, "entropy")


def test_a_lens_from_before_the_model_was_changed(model, stack):
    lens = LogitLens(model)
    model.enable_compatibility_mode()
    with pytest.raises(ValueError, match=r"LogitLens: the model was changed since .* Make a new"):
        lens(stack[-1])


@pytest.mark.usefixtures("untyped")
def test_lenses_of_another_model(model):
    other = wrap(make_hf_model(seed=1), make_vocab())
    sequence = make_utterances(4, 0)[0].sequence
    for lens in (TunedLens(other), LogitLens(other)):
        with pytest.raises(ValueError, match=r"lens_divergence: got .* of (a|another) model"):
            slm_lens.lens_divergence(model, {"foreign": lens}, [sequence])
    with pytest.raises(
        TypeError, match=r"word_lens: got a LogitLens as lens, expected a TunedLens"
    ):
        word_lens(model, make_utterances(4, 0)[:1], lens=cast(Any, LogitLens(model)), **OPTIONS)


def test_more_than_there_are(model, stack):
    read = LogitLens(model).readout(stack, "top_k", k=1000).top_k["text"]
    n_text = len(model.vocab.text)
    assert read.ids.shape[-1] == 1000
    assert (read.ids[..., n_text:] == -1).all()
    assert read.ids[..., :n_text].sort().values[0, 0, 0].tolist() == sorted(model.vocab.text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": torch.zeros(0, dtype=torch.int64)}, r"got target ids none"),
        ({"targets": torch.tensor([-1])}, r"got target ids \[-1\]"),
        ({"targets": torch.tensor([3]), "within": "text"}, r"got within='text', expected a list"),
        ({"targets": torch.tensor([3]), "within": []}, r"got within=\(\)"),
    ],
)
def test_wishes_that_cannot_be(model, stack, options, message):
    with pytest.raises(ValueError, match=r"readout: " + message):
        LogitLens(model).readout(stack, "rank", **options)


def test_words_that_are_none_and_divergences_of_words(model, stack):
    lens = LogitLens(model)
    with pytest.raises(ValueError, match=r"readout: got no spans"):
        lens.readout_words(stack[:, 0], torch.zeros(0, 2, dtype=torch.int64), "mass")
    with pytest.raises(ValueError, match=r"readout_words: got 'kl'"):
        lens.readout_words(stack[:, 0], torch.tensor([[0, 2]]), "kl")
    with pytest.raises(ValueError, match=r"readout: got final states of shape \(\d+,\)"):
        lens.readout(stack[:, 0, -1], "kl", final=stack[-1, 0, -1])


class TestFiles:
    @pytest.mark.parametrize(
        "change",
        [
            {"source": "x"},
            {"positions": "banana"},
            {"unembedding": None},
            {"evaluations": 3},
        ],
    )
    def test_facts_that_were_edited(self, model, tmp_path, change):
        TunedLens(model).save(tmp_path)
        path = tmp_path / "tuned_lens.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(ValueError, match=r"load_tuned_lens: .* Was it edited\?"):
            slm_lens.load_tuned_lens(tmp_path, model)

    def test_a_lens_without_its_vectors(self, model, tmp_path):
        from safetensors.torch import load_file, save_file

        TunedLens(model).save(tmp_path)
        path = tmp_path / "tuned_lens.safetensors"
        save_file({"weight": load_file(path)["weight"]}, path)
        with pytest.raises(ValueError, match=r"load_tuned_lens: .* cannot be read"):
            slm_lens.load_tuned_lens(tmp_path, model)

    def test_the_state_of_a_fit(self, model, tmp_path):
        sequences = [u.sequence for u in make_utterances(4, 0)[:3]]
        settings = FitSettings(n_steps=2, batch_size=2)
        options: dict[str, Any] = {"checkpoint": tmp_path, "progress": False}
        slm_lens.fit_tuned_lens(model, sequences, settings, **options)
        with torch.no_grad():
            model.original_model.model.layers[1].mlp.down_proj.weight.mul_(0.5)
        with pytest.raises(ValueError, match=r"fit_tuned_lens: .* is the state of another fit"):
            slm_lens.fit_tuned_lens(model, sequences, settings, **options)
        (tmp_path / "fit.pt").write_bytes(b"PK\x03\x04")
        with pytest.raises(ValueError, match=r"fit_tuned_lens: .*fit.pt cannot be read"):
            slm_lens.fit_tuned_lens(model, sequences, settings, **options)


@pytest.mark.usefixtures("untyped")
def test_one_sequence_is_no_list_of_them(model):
    one: Any = make_utterances(1, 0)[0].sequence
    lenses = {"logit": LogitLens(model)}
    for read in (
        lambda: slm_lens.fit_tuned_lens(model, one, progress=False),
        lambda: slm_lens.jacobian_lens(model, one),
        lambda: slm_lens.lens_divergence(model, lenses, one),
    ):
        with pytest.raises(TypeError, match=r"got one SpeechTextSequence.*Give \[sequence\]"):
            read()
    with pytest.raises(ValueError, match="got 1 sequences and batch_size=0"):
        slm_lens.lens_divergence(model, lenses, [one], batch_size=0)


@pytest.mark.usefixtures("untyped")
def test_token_ids_are_no_sets_of_them(model, stack):
    lens, spans = LogitLens(model), torch.tensor([[1, 3], [3, 5]])
    for targets in ([3, 5], [[3], [5]]):
        wrong = cast(Any, targets)
        with pytest.raises(TypeError, match="expected for each word a list of sets"):
            lens.readout_words(stack[:, 0], spans, "rank", targets=wrong)


@pytest.mark.usefixtures("untyped")
def test_words_need_a_vocabulary():
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    hf = make_hf_model()
    plain: Any = build_bridge_from_module(hf, "Qwen2ForCausalLM", hf_config=hf.config).eval()
    with pytest.raises(TypeError, match="got a TransformerBridge that knows no vocabulary"):
        word_lens(plain, make_utterances(2, 0), **OPTIONS)
