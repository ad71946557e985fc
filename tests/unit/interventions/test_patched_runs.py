"""The engine: resumed, batched runs against whole runs with plain hooks, at every site."""

from typing import Any

import pytest
import torch
from tiny_speech import D_VOCAB, make_hf_model, make_vocab, wrap
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from slm_lens.interventions.runs.patched_runs import Patch, PatchedRuns
from slm_lens.interventions.site import HEAD_KINDS, SITE_KINDS, Site
from slm_lens.model.resumed_forward import record, resume

N_LAYERS = 3
TOKENS = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5])
OTHERS = torch.tensor([2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4])
LAST = len(TOKENS) - 1


@pytest.fixture(scope="module")
def tiny():
    return wrap(make_hf_model(), make_vocab())


@pytest.fixture(scope="module")
def sources(tiny):
    with torch.no_grad():
        return tiny.run_with_cache(OTHERS[None])[1]


def patch_of(sources, site, positions):
    """What another run has there."""
    activation = sources[site.hook][0]
    if site.kind == "pattern":
        rows = activation.transpose(0, 1)[positions]
        return Patch(
            site, torch.tensor(positions), rows if site.head is None else rows[:, site.head]
        )
    values = activation[positions] if site.head is None else activation[positions, site.head]
    return Patch(site, torch.tensor(positions), values)


def whole_run(model, cell, *, hooks=()):
    """The last states of a run with plain hooks, one patch after the other."""
    last = []

    def hook_of(patch):
        def put(activation, **_):
            changed, site = activation.clone(), patch.site
            for position, value in zip(patch.positions.tolist(), patch.values, strict=True):
                if site.kind == "pattern":
                    at = slice(None) if site.head is None else site.head
                    changed[0, at, position] = value
                elif site.head is None:
                    changed[0, position] = value
                else:
                    changed[0, position, site.head] = value
            return changed

        return patch.site.hook, put

    def keep(state, **_):
        last.append(state[0].clone())

    end = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    with torch.no_grad():
        model.run_with_hooks(TOKENS[None], fwd_hooks=[*map(hook_of, cell), *hooks, (end, keep)])
    return last[0]


# resid_mid is left out here: the bridge's hook is only what the MLP reads (see below).
@pytest.mark.parametrize("kind", [k for k in SITE_KINDS if k != "resid_mid"])
def test_every_site_is_as_in_a_whole_run(tiny, sources, kind):
    heads = (None, 1) if kind in HEAD_KINDS else (None,)
    cells = [
        [patch_of(sources, Site(kind, layer, head), positions)]
        for layer in range(N_LAYERS)
        for head in heads
        for positions in ([0], [7], [2, 9], [LAST])
    ]
    runs = PatchedRuns(tiny, TOKENS)
    found = runs.final_states(cells, range(len(TOKENS)))
    wanted = torch.stack([whole_run(tiny, cell) for cell in cells])
    assert runs.engine == "resumed"
    assert (found - wanted).abs().max() < 1e-4  # states up to 30; seen: 2e-5
    change = (wanted - runs.states[-1]).abs().amax((1, 2))
    assert change.median() > 1e-2  # a query at position 0 has one key and changes nothing


def test_the_stream_behind_attention_is_replaced_on_both_of_its_paths(tiny, sources):
    cell = [patch_of(sources, Site("resid_mid", 1), [4])]
    found = PatchedRuns(tiny, TOKENS).final_states([cell], [4, LAST])[0]

    hf = make_hf_model()  # by hand: h + mlp(ln2(h)) is what the block gives at that position
    block = hf.model.layers[1]
    new = cell[0].values

    def replace(_block, _args, output):
        output = output.clone()
        output[0, 4:5] = new + block.mlp(block.post_attention_layernorm(new))
        return output

    block.register_forward_hook(replace)
    last = []
    hf.model.layers[-1].register_forward_hook(lambda _m, _a, out: last.append(out[0]))
    with torch.no_grad():
        hf(TOKENS[None])
    assert (found - last[0][[4, LAST]]).abs().max() < 1e-4


def test_several_patches_are_done_in_one_run(tiny, sources):
    kinds = [("resid_pre", 0, None), ("mlp_out", 0, None), ("z", 1, 2), ("attn_out", 2, None)]
    cells = [
        [patch_of(sources, Site(*site), [p]) for p, site in zip(positions, kinds, strict=True)]
        for positions in ((1, 5, 6, 8), (9, 3, 3, 10))
    ]
    found = PatchedRuns(tiny, TOKENS).final_states(cells, [2, LAST])
    wanted = torch.stack([whole_run(tiny, cell)[[2, LAST]] for cell in cells])
    assert (found - wanted).abs().max() < 1e-4


def test_what_was_there_changes_nothing_and_everything_swaps_the_runs(tiny):
    runs, others = PatchedRuns(tiny, TOKENS), PatchedRuns(tiny, OTHERS)
    everywhere = torch.arange(len(TOKENS))
    same = [[Patch(Site("resid_pre", i), everywhere, runs.states[i])] for i in range(N_LAYERS)]
    assert (runs.final_states(same, everywhere.tolist()) - runs.states[-1]).abs().max() < 1e-4
    swapped = [[Patch(Site("resid_pre", i), everywhere, others.states[i])] for i in range(N_LAYERS)]
    assert (runs.final_states(swapped, everywhere.tolist()) - others.states[-1]).abs().max() < 1e-4


def test_batches_do_not_matter(tiny, sources):
    cells = [[patch_of(sources, Site("mlp_out", i % 3), [i % 11])] for i in range(23)]
    little = PatchedRuns(tiny, TOKENS, memory_mb=1e-3)
    batches = list(little.batches(cells, [LAST]))
    assert all(len(batch) == 1 for batch, _ in batches)
    assert sorted(i for batch, _ in batches for i in batch) == list(range(23))
    much = PatchedRuns(tiny, TOKENS).final_states(cells, [LAST])
    assert max(len(batch) for batch, _ in PatchedRuns(tiny, TOKENS).batches(cells, [LAST])) > 1
    assert (little.final_states(cells, [LAST]) - much).abs().max() < 1e-4


def test_another_first_state_is_the_run(tiny):
    noisy = PatchedRuns(tiny, TOKENS).states[0] + 0.1
    runs = PatchedRuns(tiny, TOKENS, first_state=noisy)
    everywhere = torch.arange(len(TOKENS))
    patch = Patch(Site("resid_pre", 0), everywhere, noisy)
    assert (runs.states[-1] - whole_run(tiny, [patch])).abs().max() < 1e-4
    cell = [Patch(Site("resid_pre", 1), torch.tensor([5]), noisy[5:6])]
    wanted = whole_run(tiny, [patch, *cell])[[3, LAST]]
    assert (runs.final_states([cell], [3, LAST])[0] - wanted).abs().max() < 1e-4


def test_hooks_of_ones_own_act_in_whole_runs(sources):
    model = wrap(make_hf_model(), make_vocab())
    cell = [patch_of(sources, Site("resid_pre", 1), [6])]

    def double(activation, **_):
        return 2 * activation

    with model.hooks(fwd_hooks=[("blocks.2.hook_mlp_out", double)]):
        runs = PatchedRuns(model, TOKENS)
        found = runs.final_states([cell], [LAST])[0]
    assert runs.engine == "whole runs"
    assert "blocks.2" in runs.why
    wanted = whole_run(model, cell, hooks=[("blocks.2.hook_mlp_out", double)])
    assert (found - wanted[[LAST]]).abs().max() < 1e-4
    asked = PatchedRuns(model, TOKENS, engine="whole runs")
    assert (
        asked.final_states([cell], [LAST])[0] - whole_run(model, cell)[[LAST]]
    ).abs().max() < 1e-4


def test_compatibility_mode_resumes_through_the_bridge(sources):
    model = wrap(make_hf_model(), make_vocab())
    model.enable_compatibility_mode()
    cell = [patch_of(sources, Site("resid_pre", 1), [6])]
    runs = PatchedRuns(model, TOKENS)
    assert (runs.engine, runs.why) == ("resumed, hooked", "it is in compatibility mode")
    assert (
        runs.final_states([cell], [LAST])[0] - whole_run(model, cell)[[LAST]]
    ).abs().max() < 1e-4


def test_a_plain_bridge_is_enough(tiny, sources):
    hf = make_hf_model()
    bridge = build_bridge_from_module(hf, "Qwen2ForCausalLM", hf_config=hf.config).eval()
    cell = [patch_of(sources, Site("mlp_out", 1), [6])]
    runs = PatchedRuns(bridge, TOKENS)
    assert runs.engine == "resumed, hooked"
    wanted = whole_run(tiny, cell)[[LAST]]
    assert (runs.final_states([cell], [LAST])[0] - wanted).abs().max() < 1e-4


def test_the_model_is_left_as_it_was(tiny, sources):
    before = tiny(TOKENS[None])
    runs = PatchedRuns(tiny, TOKENS)
    list(runs.batches([[patch_of(sources, Site("z", 1), [3])]], [LAST]))
    assert torch.equal(tiny(TOKENS[None]), before)
    assert not any(h.fwd_hooks for h in tiny.hook_dict.values())
    assert tiny.plain_forward.why_not(tiny) is None


SIZES: dict[str, Any] = {
    "vocab_size": D_VOCAB,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)),
    "sliding": lambda: MistralForCausalLM(
        MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=4)
    ),
    "learned positions": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=D_VOCAB, n_embd=16, n_layer=3, n_head=4, n_positions=64)
    ),
    "parallel": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("start", [0, 4, LAST])
def test_a_resumed_run_is_the_recorded_one(name, start):
    hf = MODELS[name]().eval()
    blocks = next(m for m in hf.modules() if isinstance(m, torch.nn.ModuleList))
    run = record(hf, blocks, TOKENS)
    with torch.no_grad():
        hidden = hf(TOKENS[None], output_hidden_states=True).hidden_states
    assert torch.equal(run.states[:-1], torch.cat(hidden[:-1]))
    for first in range(N_LAYERS):
        states = run.states[first, start:].expand(2, -1, -1)
        again = resume(hf, blocks, run, states, first=first, last=N_LAYERS - 1)
        assert (again - run.states[-1, start:]).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("cell", "positions", "message"),
    [
        ([], [1], "cell without a patch"),
        ([Patch(Site("z", 3), torch.tensor([0]), torch.zeros(1, 4, 4))], [1], "layer 3 of a model"),
        ([Patch(Site("k", 0, 2), torch.tensor([0]), torch.zeros(1, 4))], [1], "head 2 of 'k'"),
        ([Patch(Site("resid_pre", 0), torch.tensor([11]), torch.zeros(1, 16))], [1], "11 tokens"),
        ([Patch(Site("resid_pre", 0), torch.tensor([1]), torch.zeros(1, 16))], [-1], "11 tokens"),
        ([Patch(Site("resid_pre", 0), torch.tensor([1, 1]), torch.zeros(2, 16))], [1], "twice"),
        (
            [Patch(Site("z", 0, 1), torch.tensor([1]), torch.zeros(1, 16))],
            [1],
            r"expected \(1, 4\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tiny, cell, positions, message):
    with pytest.raises(ValueError, match=message):
        PatchedRuns(tiny, TOKENS).final_states([cell], positions)


@pytest.mark.usefixtures("untyped")
def test_a_run_that_cannot_be_made_is_refused(tiny):
    run: Any = PatchedRuns
    with pytest.raises(TypeError, match="got list as tokens, expected one run"):
        run(tiny, TOKENS.tolist())
    with pytest.raises(TypeError, match="expected one run of token ids"):
        run(tiny, TOKENS[None])
    with pytest.raises(ValueError, match=f"token ids from 1 to {D_VOCAB}, expected 0 to"):
        run(tiny, torch.tensor([1, D_VOCAB]))
    with pytest.raises(ValueError, match="engine='resumed', expected 'whole runs'"):
        run(tiny, TOKENS, engine="resumed")
    with pytest.raises(ValueError, match="memory_mb=nan"):
        run(tiny, TOKENS, memory_mb=float("nan"))
    with pytest.raises(ValueError, match="at least one token"):
        PatchedRuns(tiny, TOKENS[:0])
    with pytest.raises(ValueError, match="memory above 0"):
        PatchedRuns(tiny, TOKENS, memory_mb=0.0)
