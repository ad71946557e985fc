"""Hooks that transformers leaves on a model, and that only look on.

Apart, so that reading a result does not import transformers.
"""

RECORDERS = "transformers.utils.output_capturing"
"""Where transformers makes the hooks that record attentions and hidden states."""


def is_recorder(hook: object) -> bool:
    """Whether a hook is one that transformers leaves after output_hidden_states, and only looks."""
    return getattr(hook, "__module__", None) == RECORDERS
