"""Tiny random models of several kinds, and pairs of runs of equal and unequal length."""

from typing import Any

import torch
from tiny_speech import D_VOCAB, N_TEXT, N_UNITS, make_hf_model, make_vocab, wrap

ANSWER, FOIL = 5, 9


def gqa_model(n_layers=3, seed=0) -> Any:
    """Four query heads, two groups."""
    return wrap(make_hf_model(seed, n_layers=n_layers), make_vocab())


def exact_model(n_layers=3) -> Any:
    """In float64, with norms that do not round to float32: for derivatives by differences."""
    hf = make_hf_model(n_layers=n_layers).double()
    for module in list(hf.modules()):
        for name, child in module.named_children():
            if "RMSNorm" in type(child).__name__:
                setattr(module, name, ExactRMSNorm(child))
    return wrap(hf, make_vocab())


def gpt2_bridge() -> Any:
    """LayerNorm, biases, learned positions, one fused projection; as many keys as queries."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng():
        torch.manual_seed(3)
        sizes: dict[str, Any] = {"vocab_size": D_VOCAB, "n_embd": 16, "n_layer": 3, "n_head": 4}
        config = GPT2Config(**sizes, initializer_range=0.3)
        config._attn_implementation = "eager"
        return plain_bridge(_with_biases(GPT2LMHeadModel(config).eval()))


def opt_bridge() -> Any:
    """As TWIST: positions flattened within a block, attention that hooks do not see."""
    from transformers import OPTConfig, OPTForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = OPTConfig(
            vocab_size=D_VOCAB,
            hidden_size=16,
            word_embed_proj_dim=16,
            ffn_dim=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            init_std=0.3,
        )
        config._attn_implementation = "eager"
        return plain_bridge(_with_biases(OPTForCausalLM(config).eval()))


def granite_bridge() -> Any:
    """Grouped queries, and everything is scaled before it is added."""
    from transformers import GraniteConfig, GraniteForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = GraniteConfig(
            vocab_size=D_VOCAB,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.3,
            residual_multiplier=0.5,
        )
        config._attn_implementation = "eager"
        return plain_bridge(GraniteForCausalLM(config).eval())


def _with_biases(hf):
    for name, parameter in hf.named_parameters():
        if "bias" in name:
            parameter.data.normal_(0, 0.3)
    return hf


def plain_bridge(hf=None) -> Any:
    """TransformerLens' own bridge, which knows no vocabulary."""
    from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources import build_bridge_config_from_hf

    hf = make_hf_model() if hf is None else hf
    config = build_bridge_config_from_hf(hf.config, type(hf).__name__, "tiny", hf.dtype)
    adapter = ArchitectureAdapterFactory.select_architecture_adapter(config)
    adapter.cfg.device = "cpu"
    adapter.prepare_model(hf)
    return TransformerBridge(hf, adapter, None)


class ExactRMSNorm(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.weight, self.variance_epsilon = norm.weight, norm.variance_epsilon

    def forward(self, x):
        return self.weight * x * (x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()


def written_out_model(n_layers=3, seed=0) -> Any:
    """`gqa_model` with each key and value head written once for each of its queries."""
    return wrap(write_out(make_hf_model(seed, n_layers=n_layers)), make_vocab())


def write_out(hf):
    from transformers import AutoModelForCausalLM

    config = hf.config.__class__(**(hf.config.to_dict() | {"num_key_value_heads": 4}))
    other: Any = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    weights = hf.state_dict()
    for name, weight in weights.items():
        if "k_proj" in name or "v_proj" in name:
            heads = weight.unflatten(0, (2, -1))
            weights[name] = heads.repeat_interleave(2, 0).flatten(0, 1)
    other.load_state_dict(weights)
    return other


def sequence(tokens, words=()):
    from slm_lens.sequence.sequence import SpeechTextSequence

    kinds: list[Any] = ["marker"] + ["speech"] * (len(tokens) - 1)
    return SpeechTextSequence(torch.tensor(tokens), tuple(kinds), tuple(words))


def units(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return [N_TEXT + i for i in torch.randint(N_UNITS, (n,), generator=generator).tolist()]


def whole_pair(n=7, *, name="whole", seed=1, n_changed=3):
    """Equal lengths, everything matched with itself."""
    from slm_lens.interventions.pairs.run_pair import RunPair, SpanMatch

    clean = [N_TEXT + N_UNITS, *units(n - 1, seed)]
    corrupted = [*clean[:2], *units(n_changed, seed + 1), *clean[2 + n_changed :]]
    return RunPair(
        name,
        sequence(clean),
        sequence(corrupted),
        (ANSWER,),
        (FOIL,),
        (SpanMatch("all", "changed", (0, n), (0, n)),),
    )


def unequal_pair(*, name="unequal", seed=1):
    """Three words of 2, 3, 2 units against 2, 4, 1, of which the last is not matched; an end."""
    from slm_lens.interventions.pairs.run_pair import RunPair, SpanMatch

    first = units(8, seed)
    clean = [N_TEXT + N_UNITS, *first[:2], *first[2:5], *first[5:7], first[7]]
    corrupted = [N_TEXT + N_UNITS, *first[:2], *units(4, seed + 1), first[5], first[7]]
    matches = (
        SpanMatch("<start>", "start", (0, 1), (0, 1)),
        SpanMatch("red", "before", (1, 3), (1, 3)),
        SpanMatch("fox", "changed", (3, 6), (3, 7)),
        SpanMatch("<end>", "end", (8, 9), (8, 9)),
    )
    return RunPair(name, sequence(clean), sequence(corrupted), (ANSWER,), (FOIL,), matches)
