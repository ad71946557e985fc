"""LoRA on top of a checkpoint: merged, live, refused; checked against peft itself."""

import json
import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import slm_lens

TOKENS = torch.tensor([[5, 300, 301, 7, 9]])


@pytest.fixture(scope="module")
def mimi(published):
    return published("Llama-Mimi")


@pytest.fixture(scope="module")
def adapter(mimi, tmp_path_factory):
    """A LoRA on queries and the MLP, with weights that do something, as peft saves it."""
    folder = tmp_path_factory.mktemp("adapter")
    base = AutoModelForCausalLM.from_pretrained(mimi.path, dtype=torch.float32)
    options = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"])
    model = get_peft_model(base, options)
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(mimi, adapter):
    """Logits of peft's own model."""
    base = AutoModelForCausalLM.from_pretrained(
        mimi.path, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        return PeftModel.from_pretrained(base, adapter).eval()(TOKENS).logits


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "live"])
def test_logits_are_pefts(mimi, adapter, expected, merge):
    model = slm_lens.load(mimi.path, adapter=adapter, merge_adapter=merge)
    with torch.no_grad():
        logits, cache = model.run_with_cache(TOKENS)
        plain = slm_lens.load(mimi.path)(TOKENS)
        lens = model.unembed(model.ln_final(cache["blocks.1.hook_resid_post"]))
    # Merging adds B A to the weight before the product instead of after; logits are around 10.
    assert (logits - expected).abs().max() < (1e-5 if merge else 1e-6)
    assert (logits - plain).abs().max() > 0.1
    assert (lens - logits).abs().max() == 0
    assert model.provenance.adapter == f"{adapter} ({'merged' if merge else 'live'})"


def test_a_live_adapter_runs_hooked_and_a_merged_one_fast(mimi, adapter):
    merged = slm_lens.load(mimi.path, adapter=adapter)
    live = slm_lens.load(mimi.path, adapter=adapter, merge_adapter=False)
    fast = slm_lens.residual_stack(merged, TOKENS, forward="fast")
    # Merging adds B A to the weight before the product instead of after.
    assert (slm_lens.residual_stack(live, TOKENS) - fast).abs().max() < 1e-4
    with pytest.raises(ValueError, match=r"forward='fast' .* a live adapter\. Load it with merge"):
        slm_lens.residual_stack(live, TOKENS, forward="fast")


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "live"])
def test_hooks_and_gradients_go_through_it(mimi, adapter, merge):
    model = slm_lens.load(mimi.path, adapter=adapter, merge_adapter=merge)
    before = model(TOKENS)
    residuals = []

    def zero(query, hook):  # noqa: ARG001 (TransformerLens passes it by name)
        return query * 0

    def keep(residual, hook):  # noqa: ARG001 (TransformerLens passes it by name)
        residual.retain_grad()
        residuals.append(residual)

    after = model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.0.attn.hook_q", zero)])
    assert (after - before).abs().max() > 1e-3
    logits = model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.0.hook_resid_pre", keep)])
    logits[0, -1].max().backward()
    assert residuals[0].grad.abs().max() > 0
    assert model.W_E.grad is not None
    assert model.W_E.grad.abs().max() > 0


def test_the_query_hook_sees_the_adapters_part(mimi, adapter):
    """``hook_q`` = W x + (alpha / r) B A x, by hand from the files."""
    model = slm_lens.load(mimi.path, adapter=adapter, merge_adapter=False)
    _, cache = model.run_with_cache(TOKENS)
    weights = load_file(adapter / "adapter_model.safetensors")
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    base = load_file(mimi.path / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    full = base + (8 / 4) * weights[f"{stem}B.weight"] @ weights[f"{stem}A.weight"]
    residual = cache["blocks.0.hook_resid_pre"]
    gain = load_file(mimi.path / "model.safetensors")["model.layers.0.input_layernorm.weight"]
    scale = (residual.pow(2).mean(-1, keepdim=True) + model.cfg.eps).sqrt()
    query = (gain * residual / scale) @ full.T
    assert torch.allclose(cache["blocks.0.attn.hook_q"].flatten(2), query, atol=1e-4)


def test_an_adapter_that_was_trained_in_slamkits_wrapper(published, tmp_path):
    """Its names begin with ``base_model.model.lm.``; on the bare model they have no ``lm.``."""
    folder = published("SIMS, Qwen2 base").path
    generator = torch.Generator().manual_seed(1)
    shape = 32  # hidden size
    stem = "base_model.model.lm.model.layers.1.self_attn.q_proj.lora_"
    weights = {
        f"{stem}A.weight": torch.randn(2, shape, generator=generator),
        f"{stem}B.weight": torch.randn(shape, 2, generator=generator),
    }
    save_file(weights, tmp_path / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 2,
        "target_modules": r".*layers\.1.*q_proj",
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    merged = slm_lens.load(folder, adapter=tmp_path)
    own = slm_lens.load(folder)
    name = "model.layers.1.self_attn.q_proj"
    change = weights[f"{stem}B.weight"] @ weights[f"{stem}A.weight"]
    difference = merged.blocks[1].attn.q.weight - own.blocks[1].attn.q.weight
    assert torch.allclose(difference, change, atol=1e-6), name


def test_compatibility_mode_is_refused_on_a_live_adapter_and_exact_on_a_merged_one(
    mimi, adapter, expected
):
    live = slm_lens.load(mimi.path, adapter=adapter, merge_adapter=False)
    with pytest.raises(ValueError, match=r"live adapter .* merge_adapter=True"):
        live.enable_compatibility_mode()
    merged = slm_lens.load(mimi.path, adapter=adapter, compatibility_mode=True)
    assert merged.provenance.compatibility_mode
    assert merged.provenance.weights_processed
    with torch.no_grad():
        off = merged(TOKENS).log_softmax(-1) - expected.log_softmax(-1)
    assert off.abs().max() < 1e-3


def test_a_model_in_memory_keeps_its_weights_when_an_adapter_is_merged(mimi, adapter, expected):
    own = AutoModelForCausalLM.from_pretrained(mimi.path, dtype=torch.float32)
    tokenizer = slm_lens.load(mimi.path).tokenizer
    plain = slm_lens.load(own, text_tokenizer=tokenizer)
    for _ in range(2):  # not twice on the same weights either
        merged = slm_lens.load(own, text_tokenizer=tokenizer, adapter=adapter)
        with torch.no_grad():
            assert (merged(TOKENS) - expected).abs().max() < 1e-5
    with torch.no_grad():
        assert (plain(TOKENS) - mimi.reference(TOKENS)).abs().max() == 0
        assert (own(TOKENS).logits - mimi.reference(TOKENS)).abs().max() < 1e-5  # sdpa
    assert all(p.requires_grad for p in own.parameters())


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_an_adapter_on_a_tied_embedding_is_not_merged(mimi, tmp_path, target):
    base = AutoModelForCausalLM.from_pretrained(mimi.path, dtype=torch.float32)
    with warnings.catch_warnings():  # peft warns of what is refused here
        warnings.simplefilter("ignore")
        model = get_peft_model(base, LoraConfig(r=2, target_modules=[target]))
        model.save_pretrained(tmp_path, save_embedding_layers=False)
        with pytest.raises(ValueError, match=r"share one matrix .*merge_adapter=False"):
            slm_lens.load(mimi.path, adapter=tmp_path)
        slm_lens.load(mimi.path, adapter=tmp_path, merge_adapter=False)


class TestRefusals:
    def copy(self, adapter, folder):
        for path in adapter.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    def test_no_adapter_there(self, mimi, tmp_path):
        with pytest.raises(ValueError, match=r"no adapter_config\.json .*Pickled adapters"):
            slm_lens.load(mimi.path, adapter=tmp_path)

    def test_an_adapter_of_another_shape(self, published, adapter):
        with pytest.raises(ValueError, match=r"adapter in .* does not fit OPTForCausalLM"):
            slm_lens.load(published("TWIST, OPT").path, adapter=adapter)

    def test_weights_missing_or_left_over(self, mimi, adapter, tmp_path):
        folder = self.copy(adapter, tmp_path)
        weights = load_file(folder / "adapter_model.safetensors")
        name = sorted(weights)[0]
        weights["base_model.model.model.other.lora_A.weight"] = weights.pop(name)
        save_file(weights, folder / "adapter_model.safetensors")
        with pytest.raises(ValueError, match=r"missing \[.*down_proj.*unexpected \[.*other"):
            slm_lens.load(mimi.path, adapter=folder)

    def test_a_damaged_file(self, mimi, adapter, tmp_path):
        folder = self.copy(adapter, tmp_path)
        content = (folder / "adapter_model.safetensors").read_bytes()
        (folder / "adapter_model.safetensors").write_bytes(content[:-10])
        with pytest.raises(ValueError, match=r"adapter_model\.safetensors cannot be read"):
            slm_lens.load(mimi.path, adapter=folder)

    @pytest.mark.parametrize("merge", [True, False], ids=["merged", "live"])
    def test_weights_that_are_no_numbers(self, mimi, adapter, tmp_path, merge):
        folder = self.copy(adapter, tmp_path)
        weights = load_file(folder / "adapter_model.safetensors")
        weights[sorted(weights)[0]][0, 0] = float("nan")
        save_file(weights, folder / "adapter_model.safetensors")
        with pytest.raises(ValueError, match=r"with the adapter .* are NaN or infinite"):
            slm_lens.load(mimi.path, adapter=folder, merge_adapter=merge)

    def test_weights_stored_as_whole_numbers(self, mimi, adapter, tmp_path):
        folder = self.copy(adapter, tmp_path)
        weights = load_file(folder / "adapter_model.safetensors")
        name = sorted(weights)[0]
        weights[name] = weights[name].to(torch.int8)
        save_file(weights, folder / "adapter_model.safetensors")
        with pytest.raises(
            ValueError, match=r"load: .* stored as whole numbers \(\['.* torch\.int8'\]\), expected"
        ):
            slm_lens.load(mimi.path, adapter=folder)
