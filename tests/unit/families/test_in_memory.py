"""Models that are in memory already: hooked without being changed, sharing their weights."""

import subprocess
import sys
from types import MethodType
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import slm_lens


@pytest.fixture
def soda(published):
    """A Hugging Face model and tokenizer as a user has them."""
    path = published("SODA").path
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)  # sdpa, as by default
    return model.train(), PreTrainedTokenizerFast.from_pretrained(path)


def test_it_is_recognised_and_left_as_it_was(soda, published):
    model, tokenizer = soda
    parts = [(name, type(part)) for name, part in model.named_modules()]
    n_tokens = len(tokenizer)
    hooked = slm_lens.load(model, text_tokenizer=tokenizer)
    assert hooked.provenance.family == "soda"
    assert hooked.provenance.attention == "eager"
    assert not hooked.training
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    assert [(name, type(part)) for name, part in model.named_modules()] == parts
    assert len(tokenizer) == n_tokens
    tokens = torch.randint(0, published("SODA").d_vocab, (1, 9))
    with torch.no_grad():
        assert (hooked(tokens) - published("SODA").reference(tokens)).abs().max() == 0


def test_the_weights_are_shared_and_not_copied(soda):
    model, tokenizer = soda
    hooked = slm_lens.load(model, text_tokenizer=tokenizer)
    own = {p.data_ptr() for p in model.parameters()}
    assert {p.data_ptr() for p in hooked.original_model.parameters()} == own
    with torch.no_grad():
        model.get_input_embeddings().weight[5] += 1
    assert torch.equal(hooked.W_E[5], model.get_input_embeddings().weight[5])


def test_options_that_would_move_it_are_refused(soda):
    model, tokenizer = soda
    with pytest.raises(ValueError, match=r"model in memory, expected none.*model\.to\(device\)"):
        slm_lens.load(model, text_tokenizer=tokenizer, device="cpu")


def test_another_dtype_is_refused(soda):
    model, tokenizer = soda
    with pytest.raises(
        ValueError, match=r"got dtype=torch\.bfloat16 for a model in memory in torch\.float32.*to\("
    ):
        slm_lens.load(model, text_tokenizer=tokenizer, dtype=torch.bfloat16)
    model.to(torch.bfloat16)
    for dtype in (torch.bfloat16, None):
        hooked = slm_lens.load(model, text_tokenizer=tokenizer, dtype=dtype)
        assert hooked.provenance.dtype == "bfloat16"


def test_a_unit_model_needs_no_tokenizer(published):
    folder = published("TWIST, Llama")
    model = LlamaForCausalLM.from_pretrained(folder.path)
    assert slm_lens.load(model).provenance.family == "twist"


def test_the_inner_model_of_slamkit_is_found(published):
    """A SIMS model taken out of its wrapper is recognised by its tokenizer."""
    own = slm_lens.load(published("SIMS, Qwen2 base").path)
    bare = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=own.vocab.d_vocab,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
        )
    )
    hooked = slm_lens.load(bare, text_tokenizer=own.tokenizer)
    assert hooked.provenance.family == "sims"
    assert hooked.vocab.kind_of.tolist() == own.vocab.kind_of.tolist()
    assert hooked.prompt_format == own.prompt_format


def test_what_is_of_no_family_is_told_why(published):
    folder = published("TWIST, Llama")
    model = LlamaForCausalLM.from_pretrained(folder.path)
    delattr(model.config, "offset")
    with pytest.raises(
        ValueError, match=r"(?s)twist: its config has no offset.*VocabSpec"
    ) as error:
        slm_lens.load(model)
    for family in slm_lens.families_by_name():
        assert f"\n  {family}: " in str(error.value)
    spec = slm_lens.VocabSpec(
        streams={"units": slm_lens.StreamSpec(offset=4, count=500)}, has_text=False
    )
    described = slm_lens.load(model, vocab_spec=spec)
    assert described.provenance.family == "described"
    assert described.vocab.streams["units"] == range(4, 504)


def assert_hooks_act(hooked):
    """Taking a block's output away changes the logits."""

    def zero(residual, hook):  # noqa: ARG001 (TransformerLens passes it by name)
        return residual * 0

    tokens = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        changed = hooked.run_with_hooks(tokens, fwd_hooks=[("blocks.0.hook_out", zero)])
        assert (changed - hooked(tokens)).abs().max() > 1e-3


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # inside torch.compile
@pytest.mark.parametrize(
    "way", ["hooks", "hooks taken off", "mixed precision", "compile()", "a part"]
)
def test_wrappers_that_follow_the_copy(soda, way):
    """Accelerate's are bound to what they wrap, and so copied with it; compiling is done anew."""
    from accelerate import Accelerator
    from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
    from accelerate.state import AcceleratorState

    model, tokenizer = soda
    if way == "mixed precision":
        model = Accelerator(mixed_precision="bf16", cpu=True).prepare_model(model)
        AcceleratorState._reset_state(reset_partial_state=True)  # shared by the whole process
    elif way == "compile()":
        model.compile(backend="eager")
    elif way == "a part":
        block = model.model.layers[0]
        block.mlp = torch.compile(block.mlp, backend="eager")
    else:
        for part in (model, model.model.layers[0].mlp):
            add_hook_to_module(part, ModelHook())
            if way == "hooks taken off":
                remove_hook_from_module(part)
    assert ("forward" in model.__dict__) == (way not in ("compile()", "a part"))
    assert_hooks_act(slm_lens.load(model, text_tokenizer=tokenizer))


def test_what_transformers_leaves_after_hidden_states(soda, published):
    model, tokenizer = soda
    tokens = torch.randint(0, published("SODA").d_vocab, (1, 9))
    states = model(tokens, output_hidden_states=True).hidden_states
    hooked = slm_lens.load(model, text_tokenizer=tokenizer)
    assert_hooks_act(hooked)
    with torch.no_grad():
        assert (hooked(tokens) - published("SODA").reference(tokens)).abs().max() == 0
        own = hooked.original_model(tokens, output_hidden_states=True).hidden_states
    assert len(own) == len(states)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(own, states, strict=True))
    assert len(model(tokens, output_hidden_states=True).hidden_states) == len(states)


class TestRefusals:
    """What would be silently wrong, or end in somebody else's traceback."""

    def test_hooks_that_would_stay(self, soda):
        model, tokenizer = soda
        handle = model.model.layers[0].register_forward_hook(lambda *_: None)
        with pytest.raises(ValueError, match=r"hooks on \['model\.layers\.0'\].*Remove them first"):
            slm_lens.load(model, text_tokenizer=tokenizer)
        handle.remove()
        slm_lens.load(model, text_tokenizer=tokenizer)

    @pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # inside torch.compile
    @pytest.mark.parametrize("part", ["", "model.layers.1.mlp"])
    @pytest.mark.parametrize("wrap", ["no_grad", "compile", "lambda", "bound"])
    def test_a_wrapped_forward(self, soda, part, wrap):
        """It would go on calling the modules that were given, past the hooks on the copies."""
        model, tokenizer = soda
        module = model.get_submodule(part)
        forward = module.forward
        module.forward = {
            "no_grad": lambda: torch.no_grad()(forward),
            "compile": lambda: torch.compile(forward, backend="eager"),
            "lambda": lambda: lambda *a, **k: forward(*a, **k),
            "bound": lambda: MethodType(lambda _, *a, **k: forward(*a, **k), module),
        }[wrap]()
        named = part or "the model itself"
        with pytest.raises(
            ValueError, match=rf"load: .* forward of its own on \['{named}'\].*del module\.forward"
        ):
            slm_lens.load(model, text_tokenizer=tokenizer)
        del module.forward
        assert_hooks_act(slm_lens.load(model, text_tokenizer=tokenizer))

    @pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_:FutureWarning")
    def test_the_hook_of_gradient_checkpointing(self, soda):
        model, tokenizer = soda
        model.gradient_checkpointing_enable({"use_reentrant": True})
        with pytest.raises(
            ValueError, match=r"hooks on .*gradient_checkpointing_disable\(\); model"
        ):
            slm_lens.load(model, text_tokenizer=tokenizer)
        model.gradient_checkpointing_disable()
        model.disable_input_require_grads()
        slm_lens.load(model, text_tokenizer=tokenizer)

    def test_what_is_no_plain_model(self, soda):
        from peft import LoraConfig, get_peft_model

        model, tokenizer = soda
        hooked = slm_lens.load(model, text_tokenizer=tokenizer)
        cases: list[tuple[Any, str]] = [
            (hooked, "got a HookedSLM, which is hooked already"),
            (hooked.original_model, "got a Qwen3ForCausalLM, which is hooked already"),
            (model.model, r"got a Qwen3Model, which has no unem.*Pass the Qwen3ForCausalLM"),
            (torch.nn.Linear(2, 2), r"got a Linear, expected a transformers model"),
            (torch.nn.DataParallel(model), r"got a DataParallel .*Pass model\.module"),
            ("", r"got source='', expected a folder"),
        ]
        for odd, message in cases:
            with pytest.raises(TypeError, match=f"load: {message}"):
                slm_lens.load(odd, text_tokenizer=tokenizer)
        peft_model: Any = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
        with pytest.raises(TypeError, match=r"got a Peft.*merge_and_unload"):
            slm_lens.load(peft_model, text_tokenizer=tokenizer)
        with pytest.raises(ValueError, match=r"live adapter on .*q_proj.*merge_adapter=False"):
            slm_lens.load(peft_model.base_model.model, text_tokenizer=tokenizer)

    def test_weights_that_are_no_numbers(self, soda):
        model, tokenizer = soda
        with torch.no_grad():
            model.lm_head.weight[3, 4] = float("nan")
        with pytest.raises(ValueError, match=r"1 of .* entries of lm_head\.weight .* are NaN"):
            slm_lens.load(model, text_tokenizer=tokenizer)

    def test_freezing_and_gradients_stay_apart(self, soda):
        model, tokenizer = soda
        model.requires_grad_(False)
        hooked = slm_lens.load(model, text_tokenizer=tokenizer)
        hooked.requires_grad_(True)
        hooked(torch.tensor([[5, 6]])).sum().backward()
        assert all(p.grad is None and not p.requires_grad for p in model.parameters())

    def test_another_familys_tokenizer_does_not_change_the_family(self, published, loaded):
        wrong = loaded("SIMS, Qwen2 base").tokenizer
        for layout in ("Llama-Mimi", "GLM-4-Voice"):
            with pytest.raises(
                ValueError, match=r"(?s)of no known family.*tokenizer has 303 token"
            ):
                slm_lens.load(published(layout).path, text_tokenizer=wrong)

    def test_options_of_the_wrong_kind(self, published):
        folder = published("Llama-Mimi").path
        with pytest.raises(LookupError, match=r"no folder at text_tokenizer='nosuch'"):
            slm_lens.load(folder, text_tokenizer="nosuch")
        with pytest.raises(LookupError, match=r"is a file, expected its folder"):
            slm_lens.load(folder / "config.json")
        with pytest.raises(ValueError, match="merge_adapter=False without an adapter"):
            slm_lens.load(folder, merge_adapter=False)
        cases: list[tuple[dict[str, Any], str]] = [
            ({"dtype": torch.int8}, r"dtype=torch\.int8, expected torch\.float32"),
            ({"device_map": "foo"}, r"device_map='foo', expected one of \('auto'"),
            ({"device_map": {"": "meta"}}, r"puts \[''\] on 'meta', expected devices"),
            ({"device_map": {"": torch.device("meta")}}, r"puts \[''\] on 'meta'"),
            ({"n_devices": 0}, "n_devices=0, expected at least 1"),
            ({"max_memory": {"cpu": "1GB"}}, "max_memory=.* without device_map"),
            ({"device": "meta"}, "device='meta' .* expected the CPU"),
        ]
        for options, message in cases:
            with pytest.raises(ValueError, match=message):
                slm_lens.load(folder, **options)


WRONG_TYPES = """
import sys
import slm_lens
from tokenizers import Tokenizer, models

folder = sys.argv[1]
for call in (
    lambda: slm_lens.load(3),
    lambda: slm_lens.load(None),
    lambda: slm_lens.load(folder, adapter=3),
    lambda: slm_lens.load(folder, text_tokenizer=Tokenizer(models.BPE())),
    lambda: slm_lens.load(folder, family=3),
):
    try:
        call()
    except TypeError as error:
        print(error)
"""


def test_arguments_of_the_wrong_type(published):
    """In a process of its own: here, the tests' own check of types would come first."""
    command = [sys.executable, "-c", WRONG_TYPES, str(published("Llama-Mimi").path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    source, none, adapter, tokenizer, family = done.stdout.splitlines()
    assert source.startswith("load: got source=3, expected a folder or a hub id (owner/name), a tr")
    assert none.startswith("load: got source=None, expected a folder")
    assert adapter == "load: got adapter=3, expected a folder or a hub id (owner/name)."
    assert tokenizer.startswith("load: got a Tokenizer as text_tokenizer, expected a folder")
    assert family.startswith("load: got family=3, expected the name of a family or a slm_lens.Fam")


def test_a_family_may_be_given_as_its_class(published):
    from slm_lens.families.llama_mimi import LlamaMimi

    model = slm_lens.load(published("Llama-Mimi").path, family=LlamaMimi)
    assert model.provenance.family == "llama-mimi"


def test_a_unit_tokenizer_may_be_a_folder(published, tmp_path):
    from tiny_mimi import tiny_mimi

    slm_lens.MimiCodes(tiny_mimi(codebook_size=16), n_codebooks=4).save(tmp_path)
    model = slm_lens.load(published("Llama-Mimi").path, unit_tokenizer=str(tmp_path))
    assert isinstance(model.unit_tokenizer, slm_lens.MimiCodes)
