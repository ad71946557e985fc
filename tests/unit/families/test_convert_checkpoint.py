"""Every published layout becomes a plain Hugging Face folder, and stays the same model."""

import json
import shutil

import pytest
import torch
from folders import WRITERS
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from writing import SENTENCES

import slm_lens
from slm_lens.model import convert
from slm_lens.sequence.streams import phonetic_units

LAYOUTS = pytest.mark.parametrize("layout", list(WRITERS))


@pytest.fixture(scope="session")
def converted(published, tmp_path_factory):
    """The converted folder of a published layout, written once."""
    made = {}

    def get(layout):
        if layout not in made:
            folder = published(layout)
            out = tmp_path_factory.mktemp("converted") / "new"
            assert slm_lens.convert_checkpoint(folder.path, out, **folder.load) == out
            made[layout] = out
        return made[layout]

    return get


@pytest.fixture(scope="session")
def reloaded(converted):
    """The hooked model of a converted folder: no option is needed any more."""
    made = {}

    def get(layout):
        if layout not in made:
            made[layout] = slm_lens.load(converted(layout))
        return made[layout]

    return get


@LAYOUTS
def test_the_folder_is_one_of_hugging_face(converted, layout):
    out = converted(layout)
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "slm_lens.yaml"} <= names
    assert not [n for n in names if n.endswith((".bin", ".model", ".py"))]
    assert ("tokenizer.json" in names) == (layout.split(",")[0] not in ("Slam", "TWIST"))
    assert not list(out.parent.glob(".*"))
    config = json.loads((out / "config.json").read_text())
    assert "auto_map" not in config
    assert "base_config" not in config


@LAYOUTS
def test_logits_are_the_same_with_and_without_slm_lens(
    published, loaded, converted, reloaded, layout
):
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(0, published(layout).d_vocab, (2, 12), generator=generator)
    plain = AutoModelForCausalLM.from_pretrained(converted(layout), attn_implementation="eager")
    with torch.no_grad():
        before = loaded(layout)(tokens)
        assert torch.equal(reloaded(layout)(tokens), before)
        off = (plain(tokens).logits - before).abs().max().item()
    # TransformerLens takes GLM's fused projections apart and sums in another order.
    assert off == 0 if published(layout).exact else off < 1e-5


@LAYOUTS
def test_the_vocabulary_is_the_same(loaded, reloaded, layout):
    old, new = loaded(layout).vocab, reloaded(layout).vocab
    for part in ("d_vocab", "text", "markers", "specials", "padding", "recycled"):
        assert getattr(new, part) == getattr(old, part), part
    assert list(new.streams) == list(old.streams)  # in the order of equal times
    assert {k: list(v) for k, v in new.streams.items()} == {
        k: list(v) for k, v in old.streams.items()
    }
    assert dict(new.labels) == dict(old.labels)
    for sentence in SENTENCES if old.text else ():
        assert new.encode_text(sentence) == old.encode_text(sentence)
        assert new.encode_text(f" {sentence}") == old.encode_text(f" {sentence}")


@LAYOUTS
def test_prompts_and_family_are_the_same(loaded, reloaded, layout):
    old, new = loaded(layout), reloaded(layout)
    assert new.prompt_format == old.prompt_format
    assert new.word_policy == old.word_policy
    assert new.vocab_spec.streams == old.vocab_spec.streams
    assert new.provenance.family == WRITERS[layout][0]
    assert new.cfg.tokenizer_prepends_bos == old.cfg.tokenizer_prepends_bos
    assert new.cfg.tokenizer_appends_eos == old.cfg.tokenizer_appends_eos
    if old.vocab.text and old.tokenizer.pad_token:  # which TransformerLens' to_tokens needs
        assert torch.equal(new.to_tokens(SENTENCES[0]), old.to_tokens(SENTENCES[0]))


@LAYOUTS
def test_the_saved_tokenizer_reads_units_without_slm_lens(loaded, converted, layout):
    vocab = loaded(layout).vocab
    if not vocab.text:
        return
    tokenizer = PreTrainedTokenizerFast.from_pretrained(converted(layout))
    units = [vocab.streams["units"][u] for u in (3, 0)]
    written = "".join(tokenizer.convert_ids_to_tokens(units))
    assert tokenizer.encode(written, add_special_tokens=False) == units


def test_converting_again_changes_nothing(converted, reloaded, tmp_path):
    again = slm_lens.convert_checkpoint(converted("GLM-4-Voice"), tmp_path / "again")
    first = load_file(converted("GLM-4-Voice") / "model.safetensors")
    second = load_file(again / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    model = slm_lens.load(again)
    assert model.provenance.family == "glm-4-voice"
    assert model.prompt_format == reloaded("GLM-4-Voice").prompt_format


def test_the_native_weights_of_glm_are_slices_of_the_fused_ones(published, converted):
    """Queries, keys and values share one tensor in the source; here each stands alone."""
    fused = {}
    for shard in published("GLM-4-Voice").path.glob("*.safetensors"):
        fused |= load_file(shard)
    native = load_file(converted("GLM-4-Voice") / "model.safetensors")
    rows = {"q": slice(0, 32), "k": slice(32, 48), "v": slice(48, 64)}  # 4 heads, 2 groups, of 8
    for kind in ("weight", "bias"):
        whole = fused[f"transformer.encoder.layers.1.self_attention.query_key_value.{kind}"]
        for letter, part in rows.items():
            name = f"model.layers.1.self_attn.{letter}_proj.{kind}"
            assert torch.equal(native[name], whole[part])
    config = json.loads((converted("GLM-4-Voice") / "config.json").read_text())
    assert config["model_type"] == "glm"
    assert config["eos_token_id"] == [266, 273, 275]


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_the_stored_dtype_is_kept_or_changed_on_request(slamkit_folder, tmp_path, stored):
    folder = slamkit_folder(dtype=stored)
    kept = slm_lens.convert_checkpoint(folder.path, tmp_path / "kept")
    weights = load_file(kept / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {stored}
    assert json.loads((kept / "config.json").read_text())["dtype"] == str(stored).split(".")[1]
    wide = slm_lens.convert_checkpoint(folder.path, tmp_path / "wide", dtype=torch.float32)
    assert {w.dtype for w in load_file(wide / "model.safetensors").values()} == {torch.float32}
    tokens = torch.tensor([[3, 4, 40]])
    with torch.no_grad():
        assert torch.equal(slm_lens.load(kept)(tokens), slm_lens.load(wide)(tokens))


def test_large_models_come_in_shards(published, loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "SHARD_SIZE", "50KB")
    out = slm_lens.convert_checkpoint(published("GLM-4-Voice").path, tmp_path / "out")
    assert len(list(out.glob("model-*-of-*.safetensors"))) > 2
    assert (out / "model.safetensors.index.json").is_file()
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(slm_lens.load(out)(tokens), loaded("GLM-4-Voice")(tokens))


# peft asks transformers for a name that is on its way out, and misses the base model's name.
@pytest.mark.filterwarnings("ignore:The PEFT config's .base_model_name_or_path.:UserWarning")
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_an_adapter_is_merged_and_noted(published, tmp_path):
    from peft import LoraConfig, get_peft_model

    folder = published("Ichigo")
    model = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32)
    peft_model = get_peft_model(
        model, LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    )
    peft_model.save_pretrained(tmp_path / "lora")
    out = slm_lens.convert_checkpoint(folder.path, tmp_path / "out", adapter=tmp_path / "lora")
    tokens = torch.arange(12)[None]
    with_adapter = slm_lens.load(folder.path, adapter=tmp_path / "lora")
    with torch.no_grad():
        expected = with_adapter(tokens)
        assert torch.equal(slm_lens.load(out)(tokens), expected)
        assert not torch.equal(slm_lens.load(folder.path)(tokens), expected)
    notes = (out / "slm_lens.yaml").read_text().splitlines()
    assert f'# adapter: "{tmp_path / "lora"} (merged)"' in notes
    assert f'# source: "{folder.path}"' in notes


def test_a_described_checkpoint_stays_described_and_a_unit_tokenizer_goes_along(tmp_path):
    spec = slm_lens.VocabSpec(
        streams={"units": slm_lens.StreamSpec(pattern="<Un{unit}>")},
        markers={"speech": "<speech>", "text": "<text>"},
        word_policy="first_piece",
    )
    out = slm_lens.convert_checkpoint("organism", tmp_path / "out", vocab_spec=spec)
    model = slm_lens.load(out)
    assert model.provenance.family == "described"
    assert model.word_policy == "first_piece"
    assert not model.prompt_format.mark_text_only  # the organism's own family has it marked
    waveform = torch.sin(torch.arange(16_000) / 20)
    own = slm_lens.load("organism").unit_tokenizer.encode(waveform)
    assert phonetic_units(model.unit_tokenizer.encode(waveform)).ids.tolist() == (
        phonetic_units(own).ids.tolist()
    )


@pytest.mark.parametrize("there", ["file", "folder with a file", "link"])
def test_nothing_is_overwritten(published, tmp_path, there):
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    elif there == "link":
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / "elsewhere")
    else:
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"convert_checkpoint: got out=.*expected a new or"):
        slm_lens.convert_checkpoint(published("Slam").path, out)
    assert not list(tmp_path.glob(".*"))


def test_an_empty_folder_is_filled(published, tmp_path):
    (tmp_path / "out").mkdir()
    out = slm_lens.convert_checkpoint(published("Slam").path, tmp_path / "out")
    assert (out / "config.json").is_file()


def test_a_failure_leaves_nothing(published, tmp_path):
    """The last file that is written is that of the unit tokenizer; here it is damaged."""
    source = shutil.copytree(published("Slam").path, tmp_path / "source")
    (source / "unit_tokenizer.json").write_text('{"kind": "unknown"}')
    with pytest.raises(LookupError, match="kind"):
        slm_lens.convert_checkpoint(source, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_mixed_dtypes_ask_for_one(published, tmp_path):
    source = shutil.copytree(published("Slam").path, tmp_path / "source")
    weights = load_file(source / "model.safetensors")
    weights["lm.model.norm.weight"] = weights["lm.model.norm.weight"].half()
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="expected one dtype for dtype=None"):
        slm_lens.convert_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    slm_lens.convert_checkpoint(source, tmp_path / "out", dtype=torch.float32)
