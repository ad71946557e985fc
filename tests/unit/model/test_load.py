"""A slamkit folder becomes the same numbers, under the right names, or is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_protocol import TransformerLensModel, TransformerLensModelWithWeights

import slm_lens


def tokens_of_every_kind(folder):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, folder.d_vocab, (2, 12), generator=generator)


FOLDERS = {
    "qwen2, tied, one file, its own tokenizer": {},
    "qwen2, untied, shards without an index": {"tied": False, "shards": "no index"},
    "llama, untied, shards with an index, bos": {
        "architecture": "llama",
        "tied": False,
        "shards": "index",
        "tokenizer": "bytes with bos",
    },
    "llama, tied, half precision on disk": {
        "architecture": "llama",
        "tokenizer": "bytes",
        "dtype": torch.float16,
    },
    "qwen2 with unused rows": {"padding_rows": 5},
}


@pytest.mark.parametrize("options", FOLDERS.values(), ids=FOLDERS.keys())
def test_logits_are_those_of_the_plain_hugging_face_model(slamkit_folder, options):
    folder = slamkit_folder(**options)
    model = slm_lens.load(folder.path)
    tokens = tokens_of_every_kind(folder)
    with torch.no_grad():
        logits = model(tokens)
        assert (logits - folder.hf_model(tokens).logits).abs().max() == 0
    assert logits.shape[-1] == folder.d_vocab == model.cfg.d_vocab


@pytest.mark.parametrize("options", FOLDERS.values(), ids=FOLDERS.keys())
def test_the_lens_at_the_last_layer_is_the_models_own_output(slamkit_folder, options):
    folder = slamkit_folder(**options)
    model = slm_lens.load(folder.path)
    with torch.no_grad():
        logits, cache = model.run_with_cache(tokens_of_every_kind(folder))
        last = cache["blocks.1.hook_resid_post"]
        assert (model.unembed(model.ln_final(last)) - logits).abs().max() == 0


def test_it_is_a_transformer_lens_model(tiny_model):
    assert isinstance(tiny_model, slm_lens.HookedSLM)
    assert isinstance(tiny_model, TransformerBridge)
    assert isinstance(tiny_model, TransformerLensModel)
    assert isinstance(tiny_model, TransformerLensModelWithWeights)
    assert not tiny_model.training


def test_loading_draws_no_random_numbers(tiny_folder):
    before = torch.get_rng_state()
    slm_lens.load(tiny_folder.path)
    assert torch.equal(before, torch.get_rng_state())


def test_dtype_is_cast_or_kept(slamkit_folder):
    folder = slamkit_folder(dtype=torch.float16)
    for dtype, expected in ((None, "float16"), (torch.bfloat16, "bfloat16")):
        model = slm_lens.load(folder.path, dtype=dtype)
        assert model.provenance.dtype == expected == str(model.W_U.dtype).removeprefix("torch.")
    # Rotary frequencies are made, not loaded, and stay in single precision.
    frequencies = [b for n, b in model.original_model.named_buffers() if n.endswith("inv_freq")]
    assert frequencies
    assert {f.dtype for f in frequencies} == {torch.float32}


def test_device_is_where_the_weights_are(tiny_folder):
    model = slm_lens.load(tiny_folder.path, device=torch.device("cpu"))
    assert model.W_U.device.type == model.cfg.device == "cpu"


def test_a_tokenizer_from_elsewhere_gives_the_same_vocabulary(slamkit_folder):
    options = {"architecture": "llama", "tokenizer": "bytes with bos", "n_units": 500}
    own = slm_lens.load(slamkit_folder(**options).path)
    bare = slamkit_folder(**options, with_tokenizer=False)
    for given in (bare.text_tokenizer, own.tokenizer):
        other = slm_lens.load(bare.path, text_tokenizer=given)
        assert other.vocab.kind_of.tolist() == own.vocab.kind_of.tolist()
        assert other.vocab.markers == own.vocab.markers
        assert other.prompt_format == own.prompt_format
        # TransformerLens would reload this tokenizer from its folder and lose the units.
        assert other.to_str_tokens("<speech><Un3>", prepend_bos=False) == ["<speech>", "<Un3>"]


def test_a_given_tokenizer_object_is_not_changed(slamkit_folder):
    from transformers import PreTrainedTokenizerFast

    folder = slamkit_folder(with_tokenizer=False, n_units=500)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder.text_tokenizer)
    slm_lens.load(folder.path, text_tokenizer=tokenizer)
    assert len(tokenizer) == folder.n_text_tokens


def test_provenance_follows_compatibility_mode(own_model, tiny_folder):
    before = own_model.provenance
    assert before == slm_lens.Provenance(
        name=str(tiny_folder.path),
        family="sims",
        architecture="Qwen2ForCausalLM",
        dtype="float32",
        attention="eager",
        adapter=None,
        compatibility_mode=False,
        weights_processed=False,
        random_weights_seed=None,
    )
    own_model.enable_compatibility_mode(disable_warnings=True)
    assert own_model.provenance.compatibility_mode
    assert own_model.provenance.weights_processed
    assert own_model.vocab.n_units() == tiny_folder.n_units  # rebuilding hooks keeps the parts


class TestRefusals:
    @pytest.fixture
    def folder(self, tiny_folder, tmp_path):
        return shutil.copytree(tiny_folder.path, tmp_path / "copy")

    def edit(self, folder, **changes):
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8")) | changes
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    def edit_weights(self, folder, change):
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    def test_unknown_name(self):
        with pytest.raises(LookupError, match=r"no folder at 'organisms'.*Did you mean 'organism'"):
            slm_lens.load("organisms")
        with pytest.raises(LookupError, match=r"'slprl/SIMS-7B', and the hub did not give"):
            slm_lens.load("slprl/SIMS-7B")

    def test_embedded_model_that_is_not_installed(self, monkeypatch, tmp_path):
        monkeypatch.setattr("slm_lens.model.source.files", lambda _package: tmp_path)
        with pytest.raises(LookupError, match=r"'organism-control' is not in this installation"):
            slm_lens.load("organism-control")

    def test_folder_without_config(self, tmp_path):
        with pytest.raises(ValueError, match=r"has no config\.json"):
            slm_lens.load(tmp_path)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [({"vocab_size": None}, "vocab_size"), ({"base_config": {}}, "base_config.model_type")],
    )
    def test_incomplete_config(self, folder, changes, named):
        self.edit(folder, **changes)
        with pytest.raises(ValueError, match=named):
            slm_lens.load(folder)

    def test_no_tokenizer(self, folder):
        (folder / "tokenizer.json").unlink()
        with pytest.raises(ValueError, match=r"no tokenizer\.json, expected text_tokenizer="):
            slm_lens.load(folder)

    def test_slow_tokenizer(self, folder, tmp_path):
        with pytest.raises(ValueError, match=r"no tokenizer\.model, expected the folder"):
            slm_lens.load(folder, text_tokenizer=tmp_path)

    @pytest.mark.parametrize(
        ("tokens", "message"),
        [
            (["<Un0>", "<Un1>", "<speech>"], "no <text>"),
            (["<Un0>", "<Un2>", "<speech>", "<text>"], "2 units of stream .units. on ids 38 to 39"),
            (["<Un0>", "<speech>", "<Un1>", "<text>"], "2 units of stream .units. on ids 38 to 40"),
        ],
    )
    def test_units_and_markers_of_another_layout(self, folder, tiny_folder, tokens, message):
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_folder.text_tokenizer)
        tokenizer.add_tokens(tokens)
        with pytest.raises(slm_lens.VocabError, match=message):
            slm_lens.load(folder, text_tokenizer=tokenizer)

    def test_tokenizer_larger_than_the_embedding(self, folder):
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        tokenizer.add_tokens(["<further>"])
        with pytest.raises(
            slm_lens.VocabError, match=r"60 rows.*1 tokens have ids outside them \(\[60\]\)"
        ):
            slm_lens.load(folder, text_tokenizer=tokenizer)

    def test_embedding_and_config_of_different_size(self, folder):
        self.edit(folder, vocab_size=59)
        with pytest.raises(ValueError, match=r"has 60 rows and its config vocab_size=59, expected"):
            slm_lens.load(folder)

    def test_missing_and_left_over_weights(self, folder):
        def change(weights):
            weights["lm.model.extra.weight"] = weights.pop("lm.model.norm.weight")

        self.edit_weights(folder, change)
        with pytest.raises(
            ValueError, match=r"missing \['model.norm.weight'\], unexpected \['model.extra"
        ):
            slm_lens.load(folder)

    def test_weights_of_another_shape(self, folder):
        self.edit_weights(folder, lambda w: w.update({"lm.model.norm.weight": torch.ones(5)}))
        with pytest.raises(ValueError, match=r"model.norm.weight \(5,\) instead of \(32,\)"):
            slm_lens.load(folder)

    def test_weights_without_the_prefix(self, folder):
        self.edit_weights(folder, lambda w: w.update({"model.bias": torch.ones(5)}))
        with pytest.raises(ValueError, match=r"\['model.bias'\] without the prefix 'lm.'"):
            slm_lens.load(folder)

    def test_tied_in_name_only(self, folder):
        def change(weights):
            weights["lm.lm_head.weight"] = weights["lm.model.embed_tokens.weight"] + 1

        self.edit_weights(folder, change)
        with pytest.raises(ValueError, match="tie_word_embeddings true; expected equal weights"):
            slm_lens.load(folder)

    def test_untied_without_a_head(self, folder):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.edit(folder, base_config=config["base_config"] | {"tie_word_embeddings": False})
        with pytest.raises(ValueError, match=r"missing \['lm_head.weight'\]"):
            slm_lens.load(folder)

    def test_no_weights(self, folder):
        (folder / "model.safetensors").rename(folder / "centroids.safetensors")
        with pytest.raises(ValueError, match=r"no weights, expected model\.safetensors"):
            slm_lens.load(folder)

    @pytest.mark.parametrize("shards", ["index", "no index"])
    def test_missing_shard(self, slamkit_folder, shards):
        folder = slamkit_folder(shards=shards).path
        (folder / "model-00002-of-00003.safetensors").unlink()
        with pytest.raises(ValueError, match=r"lacks \['model-00002-of-00003.safetensors'\]"):
            slm_lens.load(folder)

    def test_one_weight_in_two_files(self, slamkit_folder):
        folder = slamkit_folder(shards="no index").path
        shard = folder / "model-00002-of-00003.safetensors"
        save_file(
            load_file(shard) | {"lm.model.norm.weight": torch.ones(32)},
            folder / "model-00003-of-00003.safetensors",
        )
        with pytest.raises(ValueError, match="expected each weight once"):
            slm_lens.load(folder)

    def test_mixed_dtypes_need_a_choice(self, folder):
        self.edit_weights(
            folder, lambda w: w.update({"lm.model.norm.weight": torch.ones(32).half()})
        )
        with pytest.raises(ValueError, match=r"'torch.float16', 'torch.float32'.*dtype=None"):
            slm_lens.load(folder, dtype=None)
        assert slm_lens.load(folder, dtype=torch.float32).provenance.dtype == "float32"
