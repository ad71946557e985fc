"""Continuations by strength, beside whole passes with plain hooks and a vector made by hand."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hf_hooks import added, edited, generated
from tiny_speech import N_TEXT, N_UNITS

from slm_lens.studies.steer_prompt import SteeredPrompt, steer_prompt


@pytest.fixture(scope="module")
def prompt(utterances):
    return utterances[0]


def rows_of(hf_model, name, vocab):
    gain, rows = hf_model.model.norm.weight, hf_model.lm_head.weight
    if name == "text":
        row = rows[:N_TEXT].mean(0) - rows[N_TEXT : N_TEXT + N_UNITS].mean(0)
    else:
        ids = [t for t, label in vocab.labels.items() if label.strip() == name]
        row = rows[ids].mean(0)
    direction = (gain * row).detach()
    return direction / direction.norm()


@torch.no_grad()
def median_norm(hf_model, kind, layer, tokens):
    seen = []

    def keep(states):
        seen.append(np.median(states[0].norm(dim=-1).numpy()))
        return states

    with edited(hf_model, kind, layer, keep):
        hf_model(input_ids=tokens)
    return float(seen[0])


@pytest.mark.parametrize(
    ("toward", "away", "kind", "start", "decay"),
    [
        ("fox", None, "resid_post", None, None),
        ("fox", "text", "resid_pre", 2, None),
        ("text", None, "resid_post", None, 4),
    ],
)
def test_as_whole_passes_with_plain_hooks(
    model, hf_model, vocab, prompt, toward, away, kind, start, decay
):
    strengths = [0.0, 1.5, -2.0]
    steered = steer_prompt(
        model, prompt, toward, strengths, layer=1, away=away, kind=kind, start=start,
        decay=decay, max_new_tokens=6,
    )  # fmt: skip
    tokens = prompt.sequence.tokens[None]
    n = tokens.shape[1]
    vector = rows_of(hf_model, toward, vocab)
    if away is not None:
        vector = vector - rows_of(hf_model, away, vocab)
        vector = vector / vector.norm()
    length = median_norm(hf_model, kind, 1, tokens)
    assert steered.length == pytest.approx(length, rel=1e-5)
    begin = n - 1 if start is None else start
    assert (steered.start, steered.n_prompt, steered.decay) == (begin, n, decay)
    since = torch.arange(n + 6 - begin)
    factor = torch.ones(len(since)) if decay is None else (1 - since / decay).clamp(min=0)
    for strength, row in zip(strengths, steered.table.iter_rows(named=True), strict=True):
        vectors = strength * length * factor[:, None] * vector
        with added(hf_model, kind, 1, begin, n + 6, vectors):
            theirs = generated(hf_model, tokens, 6)[0, n:].tolist()
        assert row["strength"] == strength
        assert row["tokens"] == theirs
        assert row["labels"] == [vocab.label(t) for t in theirs]
        assert row["n_text"] == sum(t < N_TEXT for t in theirs)
        assert row["n_speech"] == sum(N_TEXT <= t < N_TEXT + N_UNITS for t in theirs)
        assert row["text"] == "".join(vocab.labels[t] for t in theirs if t < N_TEXT)
    assert len({tuple(t) for t in steered.table["tokens"].to_list()}) > 1  # it steers
    assert steered.provenance.hooks
    assert model.provenance.hooks == ()


def test_speech_is_the_opposite_of_text(model, prompt):
    options: dict[str, Any] = {"layer": 2, "max_new_tokens": 3}
    text = steer_prompt(model, prompt, "text", [3.0], **options).table["tokens"]
    speech = steer_prompt(model, prompt, "speech", [-3.0], **options).table["tokens"]
    assert text.to_list() == speech.to_list()


def test_sampling_and_stopping(model, prompt):
    options: dict[str, Any] = {"layer": 2, "max_new_tokens": 8}
    found = [
        steer_prompt(model, prompt, "text", [0.0], temperature=1.0, seed=s, **options).table
        for s in (1, 1, 2)
    ]
    assert found[0].equals(found[1])
    assert not found[0].equals(found[2])
    ids = found[0]["tokens"][0].to_list()
    stopped = steer_prompt(
        model, prompt, "text", [0.0], temperature=1.0, seed=1, stop=[ids[2]], **options
    ).table["tokens"][0]
    assert stopped.to_list() == ids[: ids.index(ids[2]) + 1]


def test_files(tmp_path, model, prompt):
    steered = steer_prompt(model, prompt, "fox", [0.0, 2.0], layer=0, decay=3, max_new_tokens=2)
    steered.write(tmp_path / "new")
    again = SteeredPrompt.read(tmp_path / "new")
    assert again.table.equals(steered.table)
    assert again.to_frame().schema == steered.to_frame().schema
    facts = {n: v for n, v in again.__dict__.items() if n != "table"}
    assert facts == {n: v for n, v in steered.__dict__.items() if n != "table"}
    with pytest.raises(LookupError, match=r"SteeredPrompt.read: no steering.json"):
        SteeredPrompt.read(tmp_path)
    path = tmp_path / "new" / "steering.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": 1}))
    with pytest.raises(ValueError, match=r"has \['more'\] besides"):
        SteeredPrompt.read(tmp_path / "new")


@pytest.mark.parametrize(
    ("toward", "strengths", "options", "message"),
    [
        ("fox", [], {}, r"got the strengths \[\] from position"),
        ("fox", [1.0, 1.0], {}, r"got the strengths \[1.0, 1.0\] .* each once"),
        ("fox", [1.0], {"start": 99}, r"from position 99 of a prompt"),
        ("fox", [1.0], {"start": -1}, r"from position -1 of a prompt"),
        ("fox", [1.0], {"layer": 3}, r"steer_prompt: got layer 3 of a model of 3 layers"),
        ("wolves", [1.0], {}, r"got 'wolves', for which policy .* finds no token"),
        ("fox", [1.0], {"away": "wolves"}, r"got 'wolves', for which policy"),
        ("fox", [1.0], {"away": "fox"}, r"toward='fox' and away='fox', whose directions are the"),
        ("fox", [1.0], {"decay": 0}, r"linear_decay: got 0 positions"),
    ],
)
def test_refused(model, prompt, toward, strengths, options, message):
    with pytest.raises(ValueError, match=message):
        steer_prompt(model, prompt, toward, strengths, **{"layer": 1} | options)
