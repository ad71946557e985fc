"""The recalls of `measure_phases`, recomputed by numpy from raw Hugging Face hidden states."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tiny_speech import FUNCTION, make_hf_model

from slm_lens.lens.word_lens import word_lens
from slm_lens.phases.measure import measure_phases

ORACLES = Path(__file__).parents[2] / "oracles"


def load_oracle(name):
    spec = importlib.util.spec_from_file_location(name, ORACLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("forward", "attention"), [("fast", "sdpa"), ("hooked", "eager")])
def test_recalls_equal_the_oracle_to_the_last_digit(
    model, utterances, vocab, tmp_path, forward, attention
):
    states, oracle = load_oracle("hf_states"), load_oracle("numpy_recall")
    ids = {}  # the written forms of a word, with and without a space, straight from the labels
    for token, label in vocab.labels.items():
        ids.setdefault(label.strip(), []).append(token)
    items = []
    for u in utterances:
        spoken = [(w.word, w.start, w.end, w.modality == "speech") for w in u.sequence.words]
        rows = states.words_to_count(spoken, lambda w: ids.get(w, []), FUNCTION)
        items.append((u.sequence.tokens, rows))
    hf = make_hf_model()  # not the one inside the bridge, which the bridge has changed
    hf.set_attn_implementation(attention)
    states.save(tmp_path / "states.npz", hf, vocab.text, items)

    with np.load(tmp_path / "states.npz") as data:
        expected = oracle.recalls(dict(data))
    table = word_lens(
        model,
        utterances,
        function_words=FUNCTION,
        policy="whole_word",
        n_draws=4,
        seed=5,
        forward=forward,
    )
    assert (table.provenance.forward, table.provenance.attention) == (forward, attention)
    phases = measure_phases(table, ks=oracle.KS, n_bootstrap=0)
    assert len(expected) == 2 * 2 * 2 * 3
    for (target, in_vocab, pool, k), curve in expected.items():
        rows = phases.curve(f"{target}_word_recall", vocab=in_vocab, pool=pool, k=k)
        assert rows["estimate"].to_list() == curve, (target, in_vocab, pool, k)


@pytest.mark.parametrize("name", ["numpy_recall", "hf_states"])
def test_the_oracle_does_not_know_slm_lens(name):
    tree = ast.parse((ORACLES / f"{name}.py").read_text())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported <= {"sys", "numpy", "torch"}
    assert "torch" not in imported or name == "hf_states"
