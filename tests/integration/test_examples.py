"""Every example runs, says what an independent computation says, and opens as a notebook."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from embedded_hf import ROOT, load_oracle, log_likelihood, organism

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MAX_LINES = 80
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hf_model() -> Any:
    return organism()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs an example as ``python example.py --tiny``; gives its variables and its last number."""

    def run_one(name: str, *arguments: str) -> tuple[dict[str, Any], float]:
        path = ROOT / "examples" / name
        # The last option is what a Jupyter kernel is started with.
        monkeypatch.setattr(sys, "argv", [str(path), "--tiny", *arguments, "-f", "kernel.json"])
        variables = runpy.run_path(str(path), run_name="__main__")
        number = re.search(r": (-?\d+\.\d{4})$", capsys.readouterr().out.strip())
        assert number is not None, "an example ends with its number"
        return variables, float(number[1])

    return run_one


def test_phases_of_a_sentence_as_numpy_reads_raw_states(run, hf_model):
    x, printed = run("01_phases_of_a_spoken_sentence.py")
    oracle, states = load_oracle("numpy_recall"), load_oracle("hf_states")
    vocab = x["model"].vocab
    text = np.zeros(vocab.d_vocab, dtype=bool)
    text[list(vocab.text)] = True
    ids = {}  # the written forms of a word, straight from the labels
    for token, label in vocab.labels.items():
        ids.setdefault(label.strip(), []).append(token)
    spoken = [w for w in x["sequence"].words if w.end > w.start][:6]
    W_U = hf_model.lm_head.weight.detach().double().numpy()
    norm = hf_model.model.norm
    recalls = []
    for layer in states.raw_states(hf_model, x["sequence"].tokens):
        normed = oracle.rms_norm(layer, norm.weight.detach().numpy(), norm.variance_epsilon)
        scores = [(normed[w.start : w.end] @ W_U.T).max(0) for w in spoken]
        ranks = [oracle.rank(s, ids[w.word], text) for s, w in zip(scores, spoken, strict=True)]
        recalls.append(np.mean(np.array(ranks) == 1))
    assert printed == pytest.approx(max(recalls), abs=5e-5)  # four decimals are printed
    assert x["recall"].tolist() == pytest.approx(recalls)


def test_a_hook_does_what_a_plain_torch_hook_does(run, hf_model):
    x, printed = run("02_write_your_own_hook.py")
    words = {id(w): i for i, w in enumerate(x["sequence"].words)}
    generator = torch.Generator().manual_seed(0)
    tokens, expected = x["sequence"].tokens, []
    for word, after in x["content"][:2]:
        assert words[id(after)] == words[id(word)] + 1
        span = list(range(word.start, word.end))
        others = torch.randperm(word.start, generator=generator)[: len(span)].tolist()
        assert len(others) == len(span)
        plain = log_likelihood(hf_model, tokens, after.start + 1, after.end)
        expected.append([])
        for block in hf_model.model.layers:
            changes = []
            for positions in (span, others):

                def ablate(_module, _inputs, output, positions=positions, end=word.end):
                    new = output.clone()
                    for p in positions:
                        new[0, p] = sum(output[0, q] for q in range(end)) / end
                    return new

                handle = block.register_forward_hook(ablate)
                ablated = log_likelihood(hf_model, tokens, after.start + 1, after.end)
                handle.remove()
                changes.append(ablated - plain)
            expected[-1].append(changes)
    # float32 in two orders of summation; effects reach 1 nat.
    assert np.abs(np.array(x["effects"]) - np.array(expected)).max() < 1e-4
    assert printed == pytest.approx(np.array(expected)[:, :, 0].mean(0).min(), abs=2e-4)
    # Nothing that is said after the word reads the last layer at the word.
    assert x["mean"][-1].abs().max() < 1e-6
    assert x["mean"][:-1].abs().max() > 1e-2  # so the line above can fail


def test_both_lenses_agree_and_end_in_the_models_own_ranks(run, hf_model):
    x, printed = run("03_from_hooked_transformer.py")
    assert printed == 1.0
    tokens = x["tokens"]
    assert tokens.shape == (1, 32)
    with torch.no_grad():
        logits = hf_model(tokens[:, :-1]).logits
    wanted = logits.gather(-1, tokens[:, 1:, None])
    assert x["ranks"][-1].equal((logits > wanted).sum(-1))
    assert x["gap"] < 1e-5  # one rounding of a residual stream of size 10 is 1e-6


def answer_odds(hf_model, pair, tokens, layer=None, state: Any = None) -> float:
    """Log odds of answer against foil; with the state before a block replaced, if given."""

    def replace(_block, args, kwargs):
        return (state[None], *args[1:]), kwargs

    handle = None
    if layer is not None:
        block = hf_model.model.layers[layer]
        handle = block.register_forward_pre_hook(replace, with_kwargs=True)
    with torch.no_grad():
        logits = hf_model(tokens[None]).logits[0, -1].double()
    if handle is not None:
        handle.remove()
    return (logits[list(pair.answer)].logsumexp(0) - logits[list(pair.foil)].logsumexp(0)).item()


def mean_recovery(hf_model, pairs, role: str, layer: int, bring) -> float:
    """Recovery by patching a plain model; `bring` makes n states of m."""
    found = []
    for pair in pairs:
        clean, corrupted = (
            hf_model(run.tokens[None], output_hidden_states=True).hidden_states[layer][0].detach()
            for run in (pair.clean, pair.corrupted)
        )
        (match,) = (m for m in pair.matches if m.role == role)
        state = corrupted.clone()
        source, (start, end) = clean[slice(*match.clean)], match.corrupted
        state[start:end] = bring(source, end - start)
        patched = answer_odds(hf_model, pair, pair.corrupted.tokens, layer, state)
        high, low = (answer_odds(hf_model, pair, r.tokens) for r in (pair.clean, pair.corrupted))
        found.append((patched - low) / (high - low))
    return float(np.mean(found))


def test_patching_a_spoken_word_as_a_plain_model_does(run, hf_model):
    x, printed = run("04_patch_one_word.py")
    assert len(x["pairs"]) == 3
    assert any(len(p.clean) != len(p.corrupted) for p in x["pairs"])
    wanted = mean_recovery(hf_model, x["pairs"], "end", x["moved"], lambda states, _n: states)
    assert printed == pytest.approx(wanted, abs=5e-4)

    def warp(states, n):
        places = np.clip((np.arange(n) + 0.5) * len(states) / n - 0.5, 0, len(states) - 1)
        columns = [np.interp(places, range(len(states)), c) for c in states.numpy().T]
        return torch.tensor(np.stack(columns, axis=1), dtype=torch.float32)

    at_word = mean_recovery(hf_model, x["pairs"], "changed", 3, warp)
    table = x["tables"]["residual stream"]
    assert table.filter(role="changed", layer=3)["estimate"].item() == pytest.approx(
        at_word, abs=5e-4
    )


def test_patching_across_modalities_as_a_plain_model_does(run, hf_model):
    x, printed = run("05_patch_across_modalities.py")
    pairs = x["used"]["text into speech"]
    assert {w.modality for p in pairs for w in p.clean.words} == {"text"}
    assert {w.modality for p in pairs for w in p.corrupted.words} == {"speech"}
    wanted = mean_recovery(hf_model, pairs, "changed", x["middle"], lambda s, _n: s.mean(0))
    assert printed == pytest.approx(wanted, abs=5e-4)


def test_projecting_out_a_word_as_a_plain_model_does(run, hf_model):
    x, printed = run("06_project_out_the_latent_text.py")
    assert printed == pytest.approx(x["difference"], abs=5e-5)
    layer, model = x["middle"], x["model"]
    rows = x["ablation"].table.filter(metric="units_after", directions="word", layer=layer)
    gain, W_U = hf_model.model.norm.weight.detach(), hf_model.lm_head.weight.detach()
    clips = {c.name: c.sequence for c in x["clips"]}
    for row in rows[:6:2].iter_rows(named=True):
        sequence = clips[row["utterance"]]
        word = sequence.words[row["word_index"]]
        ids = list(model.vocab.word_tokens(word.word, model.word_policy))
        basis, _ = np.linalg.qr((gain * W_U[ids]).double().numpy().T)
        projector = torch.tensor(basis @ basis.T, dtype=torch.float32)

        def take_out(_block, _args, output, start=word.start, projector=projector):
            new = output.clone()
            new[0, start:] = output[0, start:] - output[0, start:] @ projector
            return new

        handle = hf_model.model.layers[layer].register_forward_hook(take_out)
        value = log_likelihood(hf_model, sequence.tokens, word.end + 1, len(sequence))
        handle.remove()
        assert row["value"] == pytest.approx(value, abs=1e-4)
        plain = log_likelihood(hf_model, sequence.tokens, word.end + 1, len(sequence))
        assert row["baseline"] == pytest.approx(plain, abs=1e-4)


def test_tracing_starts_from_the_models_own_probabilities(run, hf_model):
    x, printed = run("07_causal_tracing.py")
    table = x["traced"].to_frame()  # the last one: speech, attention
    runs = {r.name: r for r in x["runs"]}
    for name, clean in table.select("prompt", "clean").unique().iter_rows():
        with torch.no_grad():
            logits = hf_model(runs[name].sequence.tokens[None]).logits[0, -1].double()
        wanted = logits.softmax(-1)[list(runs[name].answer)].sum().item()
        assert clean == pytest.approx(wanted, abs=1e-5)
    assert x["traced"].sigma["speech"] > 0
    assert printed == pytest.approx(x["at_subject"], abs=5e-5)
    assert 0.2 < printed < 1.2  # the first MLPs hold much of a subject whose embeddings are noise


def test_the_lens_grid_as_numpy_reads_raw_states(run, tmp_path):
    saved = ("--figure", str(tmp_path / "grid"), "--page", str(tmp_path / "page.html"))
    x, printed = run("08_look_at_a_sentence.py", *saved)
    oracle, states = load_oracle("numpy_recall"), load_oracle("hf_states")
    control = organism("organism-control")
    vocab = x["model"].vocab
    text = np.zeros(vocab.d_vocab, dtype=bool)
    text[list(vocab.text)] = True
    ids = {}  # the written forms of a word, straight from the labels
    for token, label in vocab.labels.items():
        ids.setdefault(label.strip(), []).append(token)
    W_U = control.lm_head.weight.detach().double().numpy()
    norm = control.model.norm
    layer = states.raw_states(control, x["found"].utterance.sequence.tokens)[3]
    normed = oracle.rms_norm(layer, norm.weight.detach().numpy(), norm.variance_epsilon)
    first = []
    for w in x["found"].utterance.sequence.words:
        if w.end > w.start:
            scores = (normed[w.start : w.end] @ W_U.T).max(0)
            first.append(oracle.rank(scores, ids[w.word], text) == 1)
    assert printed == pytest.approx(np.mean(first), abs=5e-5)  # four decimals are printed
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    assert x["model"].provenance.name in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=[p.stem for p in EXAMPLES])
def test_an_example_opens_as_a_notebook(path: Path, tmp_path: Path):
    import jupytext
    import nbformat

    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    nbformat.write(notebook, tmp_path / "example.ipynb")
    again: Any = nbformat.read(tmp_path / "example.ipynb", as_version=4)
    nbformat.validate(again)
    kinds = [cell.cell_type for cell in again.cells]
    assert kinds[0] == "markdown"
    assert kinds.count("code") >= 3
    for cell in again.cells:
        if cell.cell_type == "code":
            compile(cell.source, path.name, "exec")


def test_examples_are_short_and_say_one_thing():
    assert len(EXAMPLES) >= 3
    for path in EXAMPLES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < MAX_LINES, path.name
        assert text.count("One claim") == 1, path.name
