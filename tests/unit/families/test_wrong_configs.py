"""Configs that are damaged, edited or of another model: refused before anything large is made."""

import pytest
import torch
from damage import SMALL, edit_json, lm_config, over, weight_files
from folders import WRITERS
from transformers import CTRLConfig, CTRLLMHeadModel

import slm_lens
from slm_lens.families._foreign import foreign
from slm_lens.families.checkpoint import Checkpoint

small_layouts = over(SMALL)
FORWARD = torch.arange(4)[None] + 5


class TestFile:
    @over(WRITERS)
    def test_missing(self, own_copy, load_copy, layout):
        (own_copy(layout) / "config.json").unlink()
        with pytest.raises(ValueError, match=r"load: .* has no config\.json, expected a folder"):
            load_copy(layout)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", r"config\.json is not JSON"),
            (b'{"model_type": "llama"', r"config\.json is not JSON"),
            (b"\xff\xfe{", r"config\.json is not JSON"),
            (b"[" * 100_000, r"config\.json is not JSON"),
            (b"9" * 5_000, r"config\.json is not JSON"),
            (b"[1]", r"config\.json holds a list, expected a JSON object"),
            (b"null", r"config\.json holds a NoneType, expected a JSON object"),
            (b"NaN", r"config\.json holds a float, expected a JSON object"),
        ],
        ids=["empty", "cut", "no utf-8", "deep", "long number", "list", "null", "nan"],
    )
    @pytest.mark.parametrize("layout", ["SIMS, Qwen2 base", "GLM-4-Voice"])
    def test_no_json_object(self, own_copy, load_copy, layout, content, message):
        (own_copy(layout) / "config.json").write_bytes(content)
        with pytest.raises(ValueError, match=rf"load: .*{message}"):
            load_copy(layout)

    @over(WRITERS)
    def test_of_a_class_that_nobody_has(self, own_copy, load_copy, layout):
        folder = own_copy(layout)
        edit_json(folder / "config.json", lambda c: lm_config(c).update(model_type="no_such_model"))
        message = "has model_type 'no_such_model', expected one that transformers has"
        if WRITERS[layout][0] in ("twist", "spirit-lm", "glm-4-voice"):  # told by their class
            message = r"is of no known family.*model_type is 'no_such_model'"
        with pytest.raises(ValueError, match=rf"(?s)load: .*{message}"):
            load_copy(layout)

    @pytest.mark.parametrize("base", [None, 7, [], "qwen2", {}, {"model_type": 3}])
    @pytest.mark.parametrize("layout", ["SIMS, Qwen2 base", "Slam"])
    def test_nothing_inside_the_wrapper(self, own_copy, load_copy, layout, base):
        edit_json(own_copy(layout) / "config.json", lambda c: c.update(base_config=base))
        with pytest.raises(ValueError, match=r"load: config\.json in .* lacks base_config\.model"):
            load_copy(layout)


@small_layouts
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_quantised(own_copy, load_copy, layout, inside):
    edit_json(
        own_copy(layout) / "config.json",
        lambda c: (lm_config(c) if inside else c).update(
            quantization_config={"quant_method": "gptq", "bits": 4}
        ),
    )
    with pytest.raises(
        ValueError, match=r"load: .* is quantised \((base_config\.)?quantization_config in"
    ):
        load_copy(layout)


class TestNumbers:
    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("rms_norm_eps", float("nan"), "rms_norm_eps=nan, expected a finite number from 0"),
            ("rms_norm_eps", -1e-5, "rms_norm_eps=-1e-05, expected a finite number from 0"),
            ("initializer_range", float("inf"), "initializer_range=inf, expected a finite"),
            ("hidden_size", 2**64, r"hidden_size=18446744073709551616, expected .*9223372036854"),
            ("attention_dropout", 1.5, "attention_dropout=1.5, expected .* from 0 to 1"),
            ("max_position_embeddings", 0, "max_position_embeddings=0, expected .* from 1 to"),
            ("num_hidden_layers", 10**9, "num_hidden_layers=1000000000, expected .* to 10000"),
            ("num_hidden_layers", 9_999, "num_hidden_layers=9999 for .* at least one weight"),
            ("num_hidden_layers", 0, "num_hidden_layers=0 for .* at least one weight"),
            ("sliding_window", [4], r"sliding_window=\[4\], expected a whole number or null"),
            ("hidden_act", "no_such", "cannot build the model .*KeyError: 'no_such'"),
            ("num_attention_heads", "4", "transformers makes no '.*' config of .*expected int"),
            ("pad_token_id", 10**6, "cannot build the model .*Padding_idx must be within"),
        ],
    )
    @pytest.mark.parametrize("layout", ["SIMS, Qwen2 base", "Spirit LM base", "Ichigo"])
    def test_out_of_range(self, own_copy, load_copy, layout, key, value, message):
        edit_json(own_copy(layout) / "config.json", lambda c: lm_config(c).update({key: value}))
        with pytest.raises(ValueError, match=rf"(?s)load: .*{message}"):
            load_copy(layout)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("layernorm_epsilon", float("nan"), "rms_norm_eps=nan"),
            ("layernorm_epsilon", "small", "makes no 'glm' config of .*expected float"),
            ("rope_ratio", 0, "rope_ratio=0, expected a positive number"),
            ("rope_ratio", "one", "rope_ratio='one', expected a positive number"),
            ("kv_channels", 10**12, "expected 8000000000000 rows of queries"),
            ("kv_channels", None, "kv_channels=None, expected a whole number"),
            ("padded_vocab_size", -1, "padded_vocab_size=-1, expected a whole number"),
            ("rmsnorm", False, r"has {'rmsnorm': False}, expected { *'rmsnorm': True}"),
        ],
    )
    def test_of_chatglm(self, own_copy, load_copy, key, value, message):
        edit_json(own_copy("GLM-4-Voice") / "config.json", lambda c: c.update({key: value}))
        with pytest.raises(ValueError, match=rf"(?s)load: .*{message}"):
            load_copy("GLM-4-Voice")

    @pytest.mark.parametrize("offset", [None, "10", 10.0, -1, True, [10]])
    def test_an_offset_that_is_no_number(self, own_copy, load_copy, offset):
        edit_json(own_copy("TWIST, OPT") / "config.json", lambda c: c.update(offset=offset))
        with pytest.raises(ValueError, match=r"load: .* has offset=.*, expected a whole number"):
            load_copy("TWIST, OPT")

    @small_layouts
    def test_ten_million_rows_are_not_made(self, own_copy, load_copy, layout):
        key = "padded_vocab_size" if layout == "GLM-4-Voice" else "vocab_size"
        edit_json(own_copy(layout) / "config.json", lambda c: c.update({key: 10_000_000}))
        with pytest.raises(ValueError, match=r"load: the embedding in .* vocab_size=10000000, exp"):
            load_copy(layout)

    def test_what_a_run_returns_is_not_the_configs_to_say(self, own_copy, load_copy, loaded):
        """Also a classifier's labels, of which transformers would make a list."""
        edit_json(
            own_copy("Ichigo") / "config.json",
            lambda c: c.update(
                return_dict=False, output_hidden_states=[None], num_labels=10**12, id2label=4
            ),
        )
        assert (load_copy("Ichigo")(FORWARD) - loaded("Ichigo")(FORWARD)).abs().max() == 0


class TestRotation:
    llama3 = {  # noqa: RUF012 (not changed)
        "rope_type": "llama3",
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 64,
    }
    long = {  # noqa: RUF012 (not changed)
        "rope_type": "longrope",
        "short_factor": [1.0] * 4,
        "long_factor": [2.0] * 4,
        "original_max_position_embeddings": 64,
    }

    def set(self, folder, key, settings):
        edit_json(folder / "config.json", lambda c: lm_config(c).update({key: settings}))

    @pytest.mark.parametrize("layout", ["SIMS, Llama base", "Llama-Mimi", "SIMS, Qwen2 base"])
    @pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
    def test_of_llama_3_as_published(self, own_copy, load_copy, loaded, layout, key):
        self.set(own_copy(layout), key, self.llama3)
        logits = load_copy(layout)(FORWARD)
        assert logits.isfinite().all()
        assert (logits - loaded(layout)(FORWARD)).abs().max() > 1e-4  # and it is followed

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (llama3 | {"factor": 0}, r"rotary settings {'factor': 0}, expected positive"),
            (llama3 | {"factor": "8"}, r"rotary settings {'factor': '8'}"),
            (llama3 | {"low_freq_factor": True}, r"rotary settings {'low_freq_factor': True}"),
            (llama3 | {"rope_theta": -1.0}, r"rotary settings {'rope_theta': -1.0}"),
            ({"rope_type": "default", "rope_theta": 1e-300}, r"inv_freq in .* are NaN or infinite"),
            (llama3 | {"original_max_position_embeddings": None}, r"makes no 'llama' config of"),
            (
                {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1e8},
                r"{'partial_rotary_factor': 100000000.0}, expected .* at most 1",
            ),
            (
                {"rope_type": "yarn", "factor": 4.0, "attention_factor": {}},
                r"rotary settings {'attention_factor': {}}",
            ),
            (
                {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1e300},
                r"rotary settings {'attention_factor': 1e\+300}",
            ),
            (long | {"long_factor": "2"}, r"rotary settings {'long_factor': '2'}"),
            (long | {"long_factor": [0.0] * 4}, r"rotary settings {'long_factor': \[0"),
            (long | {"long_factor": [1.0] * 3}, r"expected .* lists of one length"),
            ({"rope_type": "no_such"}, r"cannot build the model .*KeyError: 'no_such'"),
            ({"rope_type": "linear"}, r"makes no 'llama' config of .*Missing required keys"),
        ],
    )
    def test_settings_out_of_range(self, own_copy, load_copy, settings, message):
        self.set(own_copy("Ichigo"), "rope_parameters", settings)
        with pytest.raises(ValueError, match=rf"(?s)load: .*{message}"):
            load_copy("Ichigo")

    def test_a_class_without_rotary_positions(self, own_copy, load_copy):
        folder = own_copy("TWIST, OPT")
        self.set(folder, "rope_scaling", None)
        assert load_copy("TWIST, OPT")(FORWARD).isfinite().all()
        self.set(folder, "rope_scaling", {"factor": 2.0})
        with pytest.raises(ValueError, match=r"load: .*'opt' has no rotary positions"):
            load_copy("TWIST, OPT")


class TestClass:
    def set(self, folder, **entries):
        edit_json(folder / "config.json", lambda c: lm_config(c).update(entries))

    def test_tables_that_would_fill_the_memory(self, own_copy, load_copy):
        """GPT-Neo makes a causal mask of context times context in each layer."""
        self.set(
            own_copy("Slam"),
            model_type="gpt_neo",
            max_position_embeddings=10**6,
            num_layers=2,
            attention_types=[[["global"], 2]],
        )
        with pytest.raises(
            ValueError, match=r"load: .* asks for 1,000,000,000,000 entries of .*bias"
        ):
            load_copy("Slam")

    def test_one_that_transformer_lens_does_not_know(self, own_copy, load_copy):
        self.set(own_copy("Slam"), model_type="ctrl")
        with pytest.raises(ValueError, match=r"load: .* is a CTRLLMHeadModel, expected a class"):
            load_copy("Slam")

    def test_one_without_a_final_norm(self, own_copy, load_copy):
        """transformer-lens would wrap it, and fail in the first forward pass."""
        folder = own_copy("TWIST, OPT")
        self.set(folder, _remove_final_layer_norm=True)
        (path,) = weight_files(folder)
        weights = torch.load(path)
        torch.save({n: w for n, w in weights.items() if "decoder.final_layer" not in n}, path)
        with pytest.raises(ValueError, match=r"load: transformer-lens cannot wrap .* no ln_final"):
            load_copy("TWIST, OPT")

    def test_one_in_memory_that_transformer_lens_does_not_know(self, loaded):
        tiny = CTRLConfig(vocab_size=504, n_embd=8, n_head=2, n_layer=1, dff=8, n_positions=16)
        made = Checkpoint(
            hf_model=CTRLLMHeadModel(tiny),
            tokenizer=None,
            prepends_bos=False,
            appends_eos=False,
            vocab=loaded("TWIST, Llama").vocab,
            prompt_format=loaded("TWIST, Llama").prompt_format,
            family="mine",
        )
        with pytest.raises(
            ValueError, match=r"load: transformer-lens cannot wrap the model of ctrl"
        ):
            slm_lens.HookedSLM(made, name="ctrl", unit_tokenizer=None)

    def test_opt_350m(self, own_copy, load_copy):
        edit_json(
            own_copy("TWIST, OPT") / "config.json", lambda c: c.update(do_layer_norm_before=False)
        )
        with pytest.raises(ValueError, match=r"load: .* norms after the blocks \(OPT-350M"):
            load_copy("TWIST, OPT")

    def test_code_of_its_own_that_is_not_there(self, own_copy, load_copy):
        own_copy("GLM-4-Voice")
        with pytest.raises(ValueError, match=r"load: transformers cannot run the config class"):
            load_copy("GLM-4-Voice", trust_remote_code=True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "expected memory for its weights.*bfloat16.*device_map"),
        (torch.OutOfMemoryError("CUDA out of memory"), "expected memory for its weights"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "expected memory"),
        (KeyError("x"), r"KeyError: 'x'\), expected a config and weights that belong together"),
    ],
)
def test_failures_of_others_are_told_as_ours(error, message):
    def fail():
        with foreign("torch", "load the weights of", "my_model"):
            raise error

    with pytest.raises(
        ValueError, match=rf"load: torch cannot load the weights of my_model.*{message}"
    ):
        fail()
