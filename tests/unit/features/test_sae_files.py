"""Files of sparse autoencoders: against SAELens' own numbers, and what is refused.

``tests/golden/saelens`` was written by SAELens 6.54.12 itself (``tests/oracles/saelens_sae.py``):
an autoencoder as it keeps one, and what it encodes and decodes of five states.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parents[2] / "golden" / "saelens"


@pytest.fixture
def of_saelens(tmp_path):
    """A copy of the golden folder, to be spoiled."""
    for name in ("cfg.json", "sae_weights.safetensors"):
        (tmp_path / name).write_bytes((GOLDEN / name).read_bytes())
    return tmp_path


def small_sae(model, layer=2, **facts):
    from slm_lens.features.autoencoder import SAEFacts, SparseAutoencoder, stream_site
    from slm_lens.features.settings import SAESettings

    g = torch.Generator().manual_seed(3)
    rows = torch.randn(40, 32, generator=g)
    given = SAEFacts("batch_topk", stream_site(model, layer), 0.25, 600, SAESettings(d_sae=40))
    return SparseAutoencoder(
        rows.T,
        torch.randn(40, generator=g),
        rows / rows.norm(dim=1, keepdim=True),
        torch.randn(32, generator=g),
        torch.rand(40, generator=g),
        replace(given, **facts),
    )


def test_numbers_are_those_of_saelens(tiny_model):
    from slm_lens.features.saelens_files import load_sae

    sae = load_sae(GOLDEN, tiny_model, without_hash="trust")
    told = json.loads((GOLDEN / "numbers.json").read_text())
    states, encoded = torch.tensor(told["states"]), torch.tensor(told["encoded"])
    assert 0.1 < (encoded > 0).float().mean() < 0.5  # sparse, and not empty
    torch.testing.assert_close(sae.encode(states), encoded, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(sae(states), torch.tensor(told["decoded"]), rtol=1e-5, atol=1e-5)
    assert (sae.layer, sae.hook_name, sae.d_sae) == (1, "blocks.0.hook_resid_post", 48)
    assert sae.facts.architecture == "batch_topk"


def test_what_is_written_has_saelens_names_and_shapes(tiny_model, tmp_path):
    """Every key that SAELens writes is there; a key that it does not know it would drop."""
    from slm_lens.features.saelens_files import save_sae

    save_sae(small_sae(tiny_model), tmp_path)
    ours, theirs = (json.loads((f / "cfg.json").read_text()) for f in (tmp_path, GOLDEN))
    assert set(ours) == set(theirs)
    same = ("architecture", "normalize_activations", "reshape_activations", "dtype", "device")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert ours["metadata"]["training_architecture"] == theirs["metadata"]["training_architecture"]
    assert ours["metadata"]["hook_name"] == "blocks.1.hook_resid_post"
    mine, golden = (load_file(f / "sae_weights.safetensors") for f in (tmp_path, GOLDEN))
    assert {n: w.ndim for n, w in mine.items()} == {n: w.ndim for n, w in golden.items()}
    assert mine["W_enc"].shape == (32, 40)  # [d_in, d_sae], as golden's [32, 48]
    assert golden["W_enc"].shape == (32, 48)


def test_it_comes_back_as_it_was(tiny_model, tmp_path):
    from slm_lens.features.saelens_files import load_sae, save_sae

    sae = small_sae(tiny_model)
    save_sae(sae, tmp_path)
    back = load_sae(tmp_path, tiny_model)
    assert back.facts == sae.facts
    assert back.name == sae.name  # has a hash of all weights
    states = torch.randn(7, 32)
    assert torch.equal(back(states), sae(states))


def test_another_model_is_refused(tiny_model, tmp_path):
    from slm_lens.features.saelens_files import load_sae, save_sae
    from slm_lens.phases.random_weights import random_weights

    save_sae(small_sae(tiny_model), tmp_path)
    other = random_weights(tiny_model, seed=1)
    with pytest.raises(ValueError, match=r"load_sae: got a sparse autoencoder of .* expected the"):
        load_sae(tmp_path, other)
    with pytest.raises(ValueError, match=r"word count: got a sparse autoencoder of"):
        small_sae(tiny_model).require_model(other, "word count")


def test_a_file_without_a_hash_is_refused_unless_trusted(tiny_model):
    from slm_lens.features.saelens_files import load_sae

    with pytest.raises(ValueError, match=r"load_sae: .* does not say which model it is of"):
        load_sae(GOLDEN, tiny_model)
    load_sae(GOLDEN, tiny_model, without_hash="trust").require_model(tiny_model, "here")


def test_of_no_model_nothing_is_written(tiny_model, tmp_path):
    from slm_lens.features.saelens_files import save_sae

    with pytest.raises(ValueError, match=r"save_sae: got a sparse autoencoder of no model"):
        save_sae(small_sae(tiny_model, site=None), tmp_path)


def test_an_empty_folder(tiny_model, tmp_path):
    from slm_lens.features.saelens_files import load_sae

    with pytest.raises(LookupError, match=r"load_sae: no cfg.json and no sae_weights.safetensors"):
        load_sae(tmp_path, tiny_model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "topk"}, r"says \{'architecture': 'topk'.* expected"),
        ({"normalize_activations": "layer_norm"}, r"'layer_norm'.*fold_activation_norm"),
        ({"d_sae": 47}, r"holds .*'W_enc': \(32, 48\).*expected .*\(32, 47\)"),
        ({"metadata": {"hook_name": "blocks.0.mlp.hook_post"}}, r"names the hook 'blocks.0.mlp"),
        (
            {"metadata": {"hook_name": "blocks.9.hook_resid_post"}},
            r"is of blocks.9.hook_resid_post",
        ),
        ({"metadata": {"slm_lens": {"layer": 3}}}, r"metadata of another version"),
        ({"metadata": 3}, r"names the hook None"),
    ],
)
def test_what_is_no_dictionary_of_this_model(tiny_model, of_saelens, change, said):
    from slm_lens.features.saelens_files import load_sae

    path = of_saelens / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=said):
        load_sae(of_saelens, tiny_model, without_hash="trust")


def test_an_unknown_architecture_in_our_metadata(tiny_model, tmp_path):
    from slm_lens.features.saelens_files import load_sae, save_sae

    save_sae(small_sae(tiny_model), tmp_path)
    path = tmp_path / "cfg.json"
    config = json.loads(path.read_text())
    config["metadata"]["slm_lens"]["architecture"] = "topk"
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"another version \(architecture 'topk'\)"):
        load_sae(tmp_path, tiny_model)


def test_damaged_weights(tiny_model, of_saelens):
    from slm_lens.features.saelens_files import load_sae

    path = of_saelens / "sae_weights.safetensors"
    weights = load_file(path)
    save_file(weights | {"threshold": torch.full((48,), torch.nan)}, path)
    with pytest.raises(ValueError, match=r"got \['threshold'\] with NaN"):
        load_sae(of_saelens, tiny_model, without_hash="trust")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot be read .*Was it cut short"):
        load_sae(of_saelens, tiny_model, without_hash="trust")


def test_b_dec_that_is_not_subtracted(tiny_model, of_saelens):
    """z = x W_enc + b_enc, by the flag of the file."""
    from slm_lens.features.saelens_files import load_sae

    path = of_saelens / "cfg.json"
    path.write_text(path.read_text().replace('"apply_b_dec_to_input": true',
                                             '"apply_b_dec_to_input": false'))  # fmt: skip
    sae = load_sae(of_saelens, tiny_model, without_hash="trust")
    weights = load_file(of_saelens / "sae_weights.safetensors")
    x = torch.randn(3, 32)
    z = x.double() @ weights["W_enc"].double() + weights["b_enc"].double()
    expected = torch.where(z > 1.25, z, 0.0).float()
    torch.testing.assert_close(sae.encode(x), expected, rtol=1e-5, atol=1e-5)


def test_a_layer_that_the_model_has_not(tiny_model):
    from slm_lens.features.autoencoder import stream_site

    assert stream_site(tiny_model, 0).hook_name == "blocks.0.hook_resid_pre"
    with pytest.raises(ValueError, match=r"stream_site: got layer 3, expected 0 .* to 2"):
        stream_site(tiny_model, 3)
