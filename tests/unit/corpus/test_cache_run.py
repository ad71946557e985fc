"""A run of the kind ``cache``: what TransformerLens' cache holds, row by row, on the disk."""

import polars as pl
import pytest
import torch

from slm_lens.corpus.open_run import open_run
from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.errors import RunError

TEXTS = ("zebra bread zebra", "bread", "zebra zebra bread bread zebra")
POST, Z = "blocks.1.hook_resid_post", "blocks.0.attn.hook_z"

ROUNDING = 2e-5  # of float32 in another order; values of up to 30 were seen to differ by 4e-6


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("\n".join(TEXTS))
    return path


def run(model, text, out, *, shard=2, budget=1, **options):
    config = {
        "kind": "cache",
        "model": {"name": "tiny"},
        "data": {"format": "text", "path": str(text)},
        "out": str(out),
        "items_per_shard": shard,
        "tokens_per_batch": budget,
        "cache": options,
    }
    return run_corpus(run_config(config), model=model)


def by_hand(model, hook):
    """``[pos, ...]`` of each text, from transformer-lens alone."""
    found = []
    for line in TEXTS:
        _, cache = model.run_with_cache(model.sequence_from_text(line).tokens[None])
        found.append(cache[hook][0])
    return found


@pytest.mark.parametrize("budget", [1, 100])
def test_every_position_of_any_hook(tiny_model, text, tmp_path, budget):
    cached = run(tiny_model, text, tmp_path, budget=budget, hooks=[POST, Z]).activations()
    assert cached.hooks == (POST, Z)
    for hook in (POST, Z):
        rows, states = cached.load(hook)
        expected = by_hand(tiny_model, hook)
        torch.testing.assert_close(states, torch.cat(expected), atol=ROUNDING, rtol=0)
        assert rows["name"].to_list() == [
            f"lines.txt:{i}" for i, e in enumerate(expected, start=1) for _ in e
        ]
    tokens = [t for x in TEXTS for t in tiny_model.sequence_from_text(x).tokens.tolist()]
    assert rows["token"].to_list() == tokens
    assert (rows["end"] - rows["start"]).to_list() == [1] * len(tokens)
    assert [len(table) for table, _ in cached.shards()] == [
        len(tokens) - len(expected[2]),
        len(expected[2]),
    ]


def test_the_stream_from_the_plain_forward_is_that_of_the_bridge(tiny_model, text, tmp_path):
    fast = run(tiny_model, text, tmp_path, hooks=["blocks.*.hook_resid_post"]).activations()
    assert fast.provenance.forward == "fast"
    assert fast.hooks == tuple(
        f"blocks.{i}.hook_resid_post" for i in range(tiny_model.cfg.n_layers)
    )
    for hook in fast.hooks:
        expected = torch.cat(by_hand(tiny_model, hook))
        torch.testing.assert_close(fast.load(hook)[1], expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("at", ["words", "word_ends"])
def test_words_are_means_or_ends_of_their_positions(tiny_model, text, tmp_path, at):
    rows, states = run(tiny_model, text, tmp_path, hooks=[POST], at=at).activations().load(POST)
    expected, words = [], []
    for line, whole in zip(TEXTS, by_hand(tiny_model, POST), strict=True):
        for w in tiny_model.sequence_from_text(line).words:
            expected.append(whole[w.start : w.end].mean(0) if at == "words" else whole[w.end - 1])
            words.append(w.word)
    torch.testing.assert_close(states, torch.stack(expected), atol=ROUNDING, rtol=0)
    assert rows["word"].to_list() == words


def test_half_precision_on_the_disk_is_rounded_once(tiny_model, text, tmp_path):
    half = run(tiny_model, text, tmp_path / "h", hooks=[POST], dtype="bfloat16").activations()
    full = run(tiny_model, text, tmp_path / "f", hooks=[POST]).activations()
    assert half.load(POST)[1].dtype == torch.bfloat16
    assert torch.equal(half.load(POST)[1], full.load(POST)[1].bfloat16())


def test_what_does_not_fit_the_dtype_is_refused(own_model, text, tmp_path):
    own_model.get_submodule("embed").weight.data.mul_(1e6)
    with pytest.raises(RunError, match=r"not finite in float16.*Set cache.dtype"):
        run(own_model, text, tmp_path, hooks=["blocks.0.hook_resid_pre"], dtype="float16")


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        (["blocks.9.hook_resid_post"], "names none of the model's"),
        (["blocks.0.attn.hook_pattern"], r"hook_pattern \[2, 4, 3, 3\].*\[batch, pos, \.\.\.\]"),
        (["blocks.0.attn.hook_result"], "hook_result does not fire"),
    ],
)
def test_hooks_that_cannot_be_kept(tiny_model, text, tmp_path, hooks, message):
    with pytest.raises(ValueError, match=message):
        run(tiny_model, text, tmp_path, hooks=hooks)


def test_other_kinds_have_no_activations_and_no_other_tables(tiny_model, text, tmp_path):
    found = run(tiny_model, text, tmp_path, hooks=[POST])
    with pytest.raises(ValueError, match=r"got the table 'words' of a run of the kind 'cache'"):
        found.words.collect()
    with pytest.raises(ValueError, match=r"got the hooks \['x'\], expected some of"):
        next(found.activations().shards("x"))
    assert open_run(tmp_path).table("positions").select(pl.len()).collect().item() > 0
