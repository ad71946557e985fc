"""Patching written out with TransformerLens' own hooks and logits: the oracle of these tests."""

import torch


def logit_difference(model, tokens, hooks=(), *, answer, foil):
    """Difference of two logits after the last token."""
    with torch.no_grad(), model.hooks(fwd_hooks=list(hooks)):
        logits = model(tokens[None])
    return (logits[0, -1, answer] - logits[0, -1, foil]).item()


def activation(model, tokens, name, hooks=()):
    kept = {}

    def keep(value, hook):  # noqa: ARG001 (given by name)
        kept[name] = value[0].detach().clone()

    with torch.no_grad(), model.hooks(fwd_hooks=[*hooks, (name, keep)]):
        model(tokens[None])
    return kept[name]


def adding(name, change):
    """Adds to an activation; to the stream within a block by way of the attention's output."""
    if name.endswith("resid_mid"):
        name = name.replace("resid_mid", "attn_out")

    def hook(value, hook):  # noqa: ARG001
        return value + change[None]

    return name, hook


def putting(name, value):
    def hook(_, hook):  # noqa: ARG001
        return value[None]

    return name, hook


def slope(measure, size=0.005):
    """Derivative at 0 to fourth order. The softmax is float32: smaller steps drown in rounding."""
    near, far = (measure(k * size) - measure(-k * size) for k in (1, 2))
    return (8 * near - far) / (12 * size)
