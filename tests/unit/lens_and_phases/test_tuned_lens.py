"""The tuned lens: the logit lens at first, nearer to the model when fitted, and its model's own."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch

import slm_lens
from slm_lens import FitSettings, LogitLens, TunedLens, fit_tuned_lens, lens_divergence
from slm_lens.lens.tuned_lens import load_tuned_lens, unembedding_hash

FAST = FitSettings(n_steps=12, batch_size=2, learning_rate=0.01)


@pytest.fixture(scope="module")
def model(tiny_folder):
    return slm_lens.load(tiny_folder.path)


@pytest.fixture(scope="module")
def sequences(model):
    """Spoken and written ones of different length."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for n in (7, 5, 9, 6):
        ids = torch.randperm(20, generator=generator)[:n]  # no unit twice in a row
        units = slm_lens.Units(ids, torch.ones(n, dtype=torch.int64), 25.0)
        made.append(model.sequence_from_units(units))
        made.append(model.sequence_from_text("the zebra lives in the savanna"))
    return made


@pytest.fixture(scope="module")
def states(model, sequences):
    return slm_lens.residual_stack(model, sequences[0].tokens[None])[:, 0]


def test_it_begins_as_the_logit_lens_to_the_bit(model, states):
    tuned, logit = TunedLens(model), LogitLens(model)
    for layer, residual in enumerate(states):
        assert torch.equal(tuned(residual, layer), logit(residual))


def test_the_change_by_hand(model, states):
    """h + A h + b, then the final norm and the unembedding, in numpy."""
    n_layers, d_model = model.cfg.n_layers, model.cfg.d_model
    generator = torch.Generator().manual_seed(1)
    weight = 0.1 * torch.randn(n_layers, d_model, d_model, generator=generator)
    bias = 0.1 * torch.randn(n_layers, d_model, generator=generator)
    lens = TunedLens(model, weight=weight, bias=bias)
    h = states[1].double().numpy()
    moved = h + h @ weight[1].double().numpy().T + bias[1].double().numpy()
    gain = model.original_model.state_dict()
    gain = next(w for n, w in gain.items() if n.endswith("model.norm._original_component.weight"))
    scale = np.sqrt((moved**2).mean(-1, keepdims=True) + model.cfg.eps)
    expected = (moved / scale * gain.double().numpy()) @ model.W_U.detach().double().numpy()
    assert np.allclose(lens(states[1], 1).numpy(), expected, atol=1e-4)
    assert torch.equal(lens(states[-1], n_layers), LogitLens(model)(states[-1]))


def divergence(states, lens):
    """Sum over positions of ``KL(final || layer 1)``, with gradients."""
    read = lens.logit_lens.readout(
        lens.translate(states[1], 1),
        "kl",
        within=["full"],
        final=states[-1],
        differentiable=True,
    )
    return read.kl["full"].double().sum()


def test_gradients_are_those_of_finite_differences(model, states):
    lens = TunedLens(model)
    lens.weight.requires_grad_()
    lens.bias.requires_grad_()
    divergence(states, lens).backward()
    assert lens.bias.grad is not None
    assert lens.weight.grad is not None
    assert not lens.bias.grad[0].any()  # another layer
    for tensor, at in ((lens.bias, (1, 3)), (lens.weight, (1, 4, 7))):
        values = []
        for step in (0.01, -0.01):
            with torch.no_grad():
                tensor[at] += step
                values.append(divergence(states, lens).item())
                tensor[at] -= step
        assert tensor.grad is not None
        assert tensor.grad[at].item() == pytest.approx((values[0] - values[1]) / 0.02, rel=0.02)


@pytest.mark.parametrize("positions", ["speech", "text", "all"])
def test_a_fit_brings_it_nearer_where_it_was_fitted(model, sequences, positions):
    settings = dataclasses.replace(FAST, positions=positions, n_steps=40)
    lens = fit_tuned_lens(model, sequences, settings)
    kinds = [k for s in sequences for k in s.kinds]
    per_pass = len(kinds) if positions == "all" else kinds.count(positions)
    assert lens.facts.n_positions == per_pass * 40 * 2 // len(sequences)
    table = lens_divergence(model, {"logit": LogitLens(model), "tuned": lens}, sequences)
    at = {
        name: table.filter(positions=positions, lens=name).sort("layer")["kl_nats"].to_list()
        for name in ("logit", "tuned")
    }
    for layer in range(model.cfg.n_layers):
        assert at["tuned"][layer] < 0.8 * at["logit"][layer]
    assert at["tuned"][-1] == at["logit"][-1] == 0


def test_divergence_by_hand(model, sequences):
    """KL(final || lens) in float64 from all logits at once, position by position."""
    lens = fit_tuned_lens(model, sequences, FAST)
    table = lens_divergence(model, {"tuned": lens}, sequences, batch_size=3)
    total = {"speech": [], "text": [], "all": []}
    for sequence in sequences:
        stack = slm_lens.residual_stack(model, sequence.tokens[None])[:, 0]
        final = LogitLens(model)(stack[-1]).double().log_softmax(-1)
        read = lens(stack[1], 1).double().log_softmax(-1)
        kl = (final.exp() * (final - read)).sum(-1).tolist()
        total["all"] += kl
        for kind, value in zip(sequence.kinds, kl, strict=True):
            if kind in total:
                total[kind].append(value)
    for positions, values in total.items():
        (row,) = table.filter(positions=positions, layer=1).rows(named=True)
        assert row["kl_nats"] == pytest.approx(np.mean(values), rel=1e-4)
        assert row["n_positions"] == len(values)


def test_chunks_do_not_matter(model, sequences):
    whole = fit_tuned_lens(model, sequences, FAST)
    parts = fit_tuned_lens(model, sequences, dataclasses.replace(FAST, chunk_positions=3))
    assert torch.allclose(whole.weight, parts.weight, atol=1e-5)


def test_saved_resumed_and_unbroken_fits_are_equal_to_the_bit(model, sequences, tmp_path):
    whole = fit_tuned_lens(model, sequences, FAST)

    class Killed(Exception):
        pass

    class Once(list):
        """Sequences that fail in the middle of a fit, as a killed process would."""

        n_read = 0

        def __getitem__(self, i):
            self.n_read += 1
            if self.n_read > 15:
                raise Killed
            return super().__getitem__(i)

    with pytest.raises(Killed):
        fit_tuned_lens(model, Once(sequences), FAST, checkpoint=tmp_path, checkpoint_every=3)
    resumed = fit_tuned_lens(model, sequences, FAST, checkpoint=tmp_path, checkpoint_every=3)
    resumed.save(tmp_path / "lens")
    read = load_tuned_lens(tmp_path / "lens", model)
    for lens in (resumed, read):
        assert torch.equal(lens.weight, whole.weight)
        assert torch.equal(lens.bias, whole.bias)
        assert lens.facts == whole.facts
    other = dataclasses.replace(FAST, seed=1)
    with pytest.raises(ValueError, match=r"state of another fit .*Choose another checkpoint"):
        fit_tuned_lens(model, sequences, other, checkpoint=tmp_path)


class TestRefusals:
    def test_another_model(self, model, slamkit_folder, tmp_path):
        TunedLens(model).save(tmp_path)
        other = slm_lens.load(slamkit_folder(seed=1).path)
        with pytest.raises(ValueError, match=r"hash .* this one has .*load the model as it was"):
            load_tuned_lens(tmp_path, other)
        folded = slm_lens.load(model.provenance.name)
        folded.enable_compatibility_mode(disable_warnings=True)
        with pytest.raises(ValueError, match="compatibility mode"):
            load_tuned_lens(tmp_path, folded)

    def test_no_lens_and_a_damaged_one(self, model, tmp_path):
        with pytest.raises(LookupError, match=r"no tuned_lens\.json .* params\.pt"):
            load_tuned_lens(tmp_path, model)
        TunedLens(model).save(tmp_path)
        content = (tmp_path / "tuned_lens.safetensors").read_bytes()
        (tmp_path / "tuned_lens.safetensors").write_bytes(content[:-9])
        with pytest.raises(ValueError, match=r"tuned_lens\.safetensors .* cannot be read"):
            load_tuned_lens(tmp_path, model)

    def test_shapes_and_layers(self, model, states):
        with pytest.raises(ValueError, match=r"weight of shape \(1, 2, 2\)"):
            TunedLens(model, weight=torch.zeros(1, 2, 2))
        with pytest.raises(ValueError, match="got layer 3, expected 0 to 2"):
            TunedLens(model)(states[0], 3)

    @pytest.mark.parametrize(
        "odd",
        [
            {"n_steps": 0},
            {"batch_size": 0},
            {"learning_rate": 0.0},
            {"weight_decay": -1.0},
            {"evaluate_every": 0},
            {"patience": 0},
            {"min_improvement": 1.0},
            {"min_improvement": -0.1},
        ],
    )
    def test_settings(self, model, sequences, odd):
        with pytest.raises(ValueError, match=r"counts of at least 1, a learning rate"):
            fit_tuned_lens(model, sequences, dataclasses.replace(FAST, **odd))

    def test_facts_of_another_version(self, model, tmp_path):
        lens = TunedLens(model)
        lens.save(tmp_path)
        path = tmp_path / "tuned_lens.json"
        facts = json.loads(path.read_text())
        for odd in ({"settings": {"n_steps": 3}}, {"more": 1}):
            path.write_text(json.dumps(facts | odd))
            with pytest.raises(ValueError, match=r"written by another version of slm-lens: fit"):
                load_tuned_lens(tmp_path, model)

    def test_positions(self, model, sequences):
        odd = dataclasses.replace(FAST)
        object.__setattr__(odd, "positions", "words")  # types are checked in tests alone
        with pytest.raises(ValueError, match=r"positions='words', expected one of"):
            fit_tuned_lens(model, sequences, odd)

    def test_nothing_to_fit_on(self, model, sequences):
        with pytest.raises(ValueError, match="fit_tuned_lens: got no sequence"):
            fit_tuned_lens(model, [], FAST)
        with pytest.raises(ValueError, match="lens_divergence: got 0 sequences"):
            lens_divergence(model, {}, [])
        spoken = [s for s in sequences if "text" not in s.kinds]
        with pytest.raises(ValueError, match="got no text position in what 12 steps read"):
            fit_tuned_lens(model, spoken, dataclasses.replace(FAST, positions="text"))


class TestLensesOfTheTunedLensPackage:
    """Its folder, as its ``save`` writes it: a pickle of tensors, a config with its own hash."""

    @pytest.fixture
    def folder(self, model, tmp_path):
        d_model, n_layers = model.cfg.d_model, model.cfg.n_layers
        generator = torch.Generator().manual_seed(4)
        state = {}
        for layer in range(n_layers):
            state[f"{layer}.weight"] = torch.randn(d_model, d_model, generator=generator)
            state[f"{layer}.bias"] = torch.randn(d_model, generator=generator)
        torch.save(state, tmp_path / "params.pt")
        matrix = model.W_U.detach().T.contiguous().float().numpy()
        digest = hashlib.sha256(str.encode(np.array_str(matrix, precision=1))).hexdigest()
        config = {"d_model": d_model, "num_hidden_layers": n_layers, "unembed_hash": digest}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    def test_it_reads_as_there(self, model, states, folder):
        lens = load_tuned_lens(folder, model)
        assert lens.facts.source == "tuned-lens"
        assert lens.facts.unembedding == unembedding_hash(model)
        state = torch.load(folder / "params.pt", weights_only=True)
        moved = states[1] + torch.nn.functional.linear(
            states[1], state["1.weight"], state["1.bias"]
        )
        assert torch.allclose(lens(states[1], 1), LogitLens(model)(moved), atol=1e-4)

    def test_of_another_model_or_with_code_in_it(self, model, folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"unembed_hash": "0" * 64}))
        with pytest.raises(ValueError, match=r"has the hash 000000000000\.\.\., this one has"):
            load_tuned_lens(folder, model)
        (folder / "config.json").write_text(json.dumps(config))
        torch.save({"0.weight": print}, folder / "params.pt")
        with pytest.raises(ValueError, match=r"(?s)params\.pt .* cannot be read .*tensors only"):
            load_tuned_lens(folder, model)
