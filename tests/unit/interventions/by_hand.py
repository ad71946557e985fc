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

    def added(value, hook):  # noqa: ARG001
        return value + change[None]

    return name, added


def putting(name, value):
    def hook(_, hook):  # noqa: ARG001
        return value[None]

    return name, hook


def moved_difference(model, pair, name):
    """Clean less corrupted, word by word with weights as `moving` documents them."""
    clean = activation(model, pair.clean.tokens, name)
    corrupted = activation(model, pair.corrupted.tokens, name)
    change = torch.zeros_like(corrupted)
    for match in pair.matches:
        (a, b), (c, d) = match.clean, match.corrupted
        m, n = b - a, d - c
        for i in range(n):
            place = min(max((i + 0.5) * m / n - 0.5, 0), m - 1)
            low = int(place)
            high = min(low + 1, m - 1)
            mixed = clean[a + low] * (1 - (place - low)) + clean[a + high] * (place - low)
            change[c + i] = mixed - corrupted[c + i]
    return change


def slope(measure, size=0.005):
    """Derivative at 0 to fourth order. The softmax is float32: smaller steps drown in rounding."""
    near, far = (measure(k * size) - measure(-k * size) for k in (1, 2))
    return (8 * near - far) / (12 * size)
