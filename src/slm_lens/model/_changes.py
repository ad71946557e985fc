"""Whether anything acts on the modules of a bridge that was not there when it was made."""

from dataclasses import dataclass

from torch import nn

from slm_lens.families._recorders import RECORDERS

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
# Hooks that a run leaves behind and that only look on: a block's on its norms, to show what goes
# in, and those of transformers for output_attentions and output_hidden_states.
_ONLOOKERS = (
    "transformer_lens.model_bridge.generalized_components.block",
    RECORDERS,
)
WRAPPER = "._original_component"
"""What a bridge puts into the names of the parts that it wraps."""


@dataclass(frozen=True, eq=False)
class ModuleState:
    """What a module of the bridge is like: its parts, and what acts on it."""

    module: nn.Module
    parts: list[nn.Module | None]
    hooks: frozenset[object]  # by handle, and whether its forward was replaced

    @classmethod
    def of(cls, module: nn.Module) -> "ModuleState":
        """What it is like now."""
        return cls(module, list(module._modules.values()), hooks_on(module))


def first_change(model: nn.Module, states: list[ModuleState]) -> str | None:
    """What is not as it was: modules, or what acts on one of them.

    Args:
        model: the model inside the bridge, with the bridge's parts.
        states: of all its modules, taken before.

    Returns:
        The first part of a sentence; None if nothing changed.
    """
    for state in states:
        if list(state.module._modules.values()) != state.parts:
            return "modules of it were replaced"
        if hooks_on(state.module) != state.hooks:
            name = next(n for n, m in model.named_modules() if m is state.module)
            return f"there is a hook on {name.replace(WRAPPER, '')!r}"
    return None


def hooks_on(module: nn.Module) -> frozenset[object]:
    """What acts on a module: handles of its hooks, and whether its forward was replaced.

    Args:
        module: any module of a bridge.

    Returns:
        Handles, without those of hooks that only look on.
    """
    tables = [table for name in _HOOKS if (table := getattr(module, name))]
    hooks = [
        key
        for table in tables
        for key, hook in table.items()
        if getattr(hook, "__module__", None) not in _ONLOOKERS
    ]
    return frozenset([*hooks, "forward"] if "forward" in module.__dict__ else hooks)
