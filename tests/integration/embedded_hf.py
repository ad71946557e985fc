"""The embedded organism as a plain Hugging Face model, read without slm_lens."""

import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]


def organism(name: str = "organism") -> Any:
    """Weights of an embedded folder in the class that its config names, in float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = Path(str(files("slm_lens"))) / "data" / name
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    base = dict(config["base_config"])
    kind, names = base.pop("model_type"), base.pop("architectures")
    inner = AutoConfig.for_model(kind, **{**base, "vocab_size": config["vocab_size"]})
    inner.architectures = names
    model = AutoModelForCausalLM.from_config(inner, attn_implementation="eager")
    weights = load_file(folder / "model.safetensors")
    missing, unexpected = model.load_state_dict(
        {name.removeprefix("lm."): w.float() for name, w in weights.items()}, strict=False
    )
    assert set(missing) <= {"lm_head.weight"}  # tied
    assert not unexpected
    model.tie_weights()
    return model.eval()


def log_likelihood(model: Any, tokens: torch.Tensor, first: int, stop: int) -> float:
    """Mean log-probability of the tokens at positions ``[first, stop)``, in float64."""
    with torch.no_grad():
        logits = model(tokens[None]).logits[0].double()
    at = torch.arange(first, stop)
    return (logits[at - 1, tokens[at]] - logits[at - 1].logsumexp(-1)).mean().item()


def load_oracle(name: str) -> ModuleType:
    """A module of ``tests/oracles``."""
    path = ROOT / "tests" / "oracles" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
