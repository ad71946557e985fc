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
