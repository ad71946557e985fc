"""Where weights go, and as what: dtypes, devices, and what excludes what."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import slm_lens

TOKENS = torch.tensor([[5, 300, 301, 7, 9]])


@pytest.fixture
def half(published, tmp_path):
    """Llama-Mimi with its weights in bfloat16 on disk."""
    folder = published("Llama-Mimi").path
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = {k: w.bfloat16() for k, w in load_file(folder / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path


def test_the_stored_dtype_is_kept_to_the_bit(half):
    model = slm_lens.load(half, dtype=None)
    assert model.provenance.dtype == "bfloat16"
    stored = load_file(half / "model.safetensors")
    assert torch.equal(model.W_E, stored["model.embed_tokens.weight"])
    with torch.no_grad():
        reference = slm_lens.load(half)(TOKENS)  # float32
        # bfloat16 keeps 8 bits; logits are around 10.
        assert (model(TOKENS).float() - reference).abs().max() < 0.5


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}], ids=str)
def test_a_device_map_gives_the_same_numbers(published, device_map):
    folder = published("Llama-Mimi")
    model = slm_lens.load(folder.path, device_map=device_map)
    with torch.no_grad():
        assert (model(TOKENS) - folder.reference(TOKENS)).abs().max() == 0
    assert model.cfg.device == "cpu"
    assert model.cfg.n_devices == 1


def test_device_and_device_map_exclude_each_other(published):
    with pytest.raises(ValueError, match=r"load: .*device.*device_map"):
        slm_lens.load(published("Llama-Mimi").path, device="cpu", device_map="auto")


def test_more_gpus_than_there_are_is_refused(published):
    too_many = torch.cuda.device_count() + 2
    with pytest.raises(ValueError, match=rf"load: .*n_devices={too_many}"):
        slm_lens.load(published("Llama-Mimi").path, n_devices=too_many)


def test_compatibility_mode_is_an_option_and_stands_on_every_result(published):
    folder = published("Llama-Mimi")
    model = slm_lens.load(folder.path, compatibility_mode=True)
    assert model.provenance.compatibility_mode
    assert model.provenance.weights_processed
    with torch.no_grad():
        off = model(TOKENS).log_softmax(-1) - folder.reference(TOKENS).log_softmax(-1)
    assert off.abs().max() < 1e-4  # another order of products; log-probabilities are around -10


def test_an_opt_with_its_norms_after_the_blocks_is_refused_by_name(tmp_path):
    from transformers import OPTConfig, OPTForCausalLM
    from writing import hf_model, write_bin, write_config

    options = {"ffn_dim": 48, "do_layer_norm_before": False, "word_embed_proj_dim": 16}
    model = hf_model(OPTConfig, OPTForCausalLM, 512, **options)
    write_config(tmp_path, model, offset=10)
    write_bin(tmp_path, dict(model.state_dict()))
    with pytest.raises(ValueError, match=r"TWIST-350M.*do_layer_norm_before=True.*TWIST-1\.3B"):
        slm_lens.load(tmp_path)
