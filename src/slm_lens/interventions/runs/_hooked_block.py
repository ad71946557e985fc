"""Hooks that put values inside one block of a batch of runs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from slm_lens.interventions.runs.patched_runs import Patch

Hook = tuple[str, Callable[..., Any]]

# Largest difference between the residual stream behind the attention and what was put there, over
# its size: rounding of one addition. A block that scales what attention adds is off by the scale.
_TOLERANCE = 2e-2


def inner_hooks(
    model: Any,
    state: Float[Tensor, "batch later d_model"],
    patches: Sequence[Sequence["Patch"]],
    start: int,
) -> list[Hook]:
    """Hooks for the patches of one block.

    Args:
        model: the bridge, for which hooks it has.
        state: what goes into the block, from position `start` on.
        patches: those of each run; none on the residual stream before or after the block.
        start: position of the first state.

    Returns:
        Names and functions, as `TransformerBridge.hooks` takes them.

    Raises:
        ValueError: the model's blocks have no such activation.
    """
    by_site: dict[str, list[tuple[int, Patch]]] = {}
    for run, of_run in enumerate(patches):
        for patch in of_run:
            by_site.setdefault(patch.site.hook, []).append((run, patch))
    missing = sorted(set(by_site) - set(model.hook_dict))
    if missing:
        raise ValueError(
            f"PatchedRuns: got a model without {missing}, expected these hooks. Blocks whose "
            "attention and MLP read the same stream have no resid_mid; take another site."
        )
    hooks: list[Hook] = []
    for name, members in by_site.items():
        if members[0][1].site.kind == "resid_mid":
            hooks += _behind_attention(name, members, state, start)
        else:
            hooks.append((name, _putting(members, start)))
    return hooks


def _putting(members: Sequence[tuple[int, "Patch"]], start: int) -> Callable[..., Tensor]:
    """Puts values into an activation, ``[batch, pos, ...]`` or a pattern ``[batch, head, ...]``."""

    def put(activation: Tensor, **_: Any) -> Tensor:
        changed = activation.clone()
        for run, patch in members:
            where = patch.positions.to(changed.device) - start
            values, site = patch.values.to(changed), patch.site
            if site.kind == "pattern":
                rows = changed[run] if site.head is None else changed[run, site.head]
                if site.head is None:
                    rows[:, where] = values.transpose(0, 1)
                else:
                    rows[where] = values
            elif site.head is None:
                changed[run, where] = values
            else:
                changed[run, where, site.head] = values
        return changed

    return put


def _behind_attention(
    name: str, members: Sequence[tuple[int, "Patch"]], state: Tensor, start: int
) -> list[Hook]:
    """Makes attention add what is missing, since `hook_resid_mid` only sees what the MLP reads."""

    def add(attn_out: Tensor, **_: Any) -> Tensor:
        changed = attn_out.clone()
        for run, patch in members:
            where = patch.positions.to(changed.device) - start
            changed[run, where] = patch.values.to(changed) - state[run, where].to(changed)
        return changed

    def check(mid: Tensor, **_: Any) -> None:
        for run, patch in members:
            where = patch.positions.to(mid.device) - start
            wanted = patch.values.to(mid)
            worst = (mid[run, where] - wanted).abs().max().item()
            size = max(wanted.abs().max().item(), state[run, where].abs().max().item())
            if not worst <= _TOLERANCE * size:
                raise ValueError(
                    f"PatchedRuns: the residual stream behind the attention of layer "
                    f"{patch.site.layer} is off by {worst:.2g} of {size:.2g} from what was put "
                    "there, expected attention's output to be added as it is. Take attn_out."
                )

    return [(name.replace("hook_resid_mid", "hook_attn_out"), add), (name, check)]
