"""The forward pass of the plain Hugging Face model, beside a bridge and with the bridge's weights.

A bridge replaces parts of the model that it wraps, computes attention eagerly and calls some
thousand hooks. Where nobody looks at the hooks, the plain model gives the same residual stream with
a fused attention kernel, at a third of the memory.

So a copy of the modules is made before the bridge is. It holds no tensor: each run borrows those
that the bridge has at that moment and gives them back, whether they were moved, cast, edited or
replaced meanwhile. What the plain model would not show (hooks, other modules, folded weights) is a
reason not to run it.

Bridges and Hugging Face models are not typed here: reading a result must not import them.

Source: ours.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from slm_lens.model._changes import WRAPPER, ModuleState, first_change

_HOOKED = "Or pass forward='hooked'."


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a module keeps a tensor."""

    owner: nn.Module
    table: str  # "_parameters" or "_buffers"
    key: str

    @property
    def tensor(self) -> Tensor:
        return getattr(self.owner, self.table)[self.key]

    def put(self, tensor: Tensor | None) -> None:
        getattr(self.owner, self.table)[self.key] = tensor


class PlainForward:
    """Runs the plain model of a bridge.

    Args:
        hf_model: the model, before the bridge is made of it; left as it is.

    Attributes:
        attention: attention kernel of the plain model: "sdpa" where its class supports that.
    """

    attention: str
    _blocks: nn.ModuleList | None

    def __init__(self, hf_model: Any) -> None:
        self.attention = str(hf_model.config._attn_implementation)
        self._wanted: dict[str, _Place] = {}
        self._loans: list[tuple[_Place, _Place]] = []  # from the bridge to the plain model
        self._parts: list[tuple[_Place, _Place | None, int]] = []
        self._states: list[ModuleState] = []
        self._impossible = _why_no_copy(hf_model)
        if self._impossible is not None:
            return
        tensors = {id(t): t for t in chain(hf_model.parameters(), hf_model.buffers())}
        self._shell = copy.deepcopy(hf_model, cast(dict[int, Any], tensors)).eval()
        if _can_fuse(self._shell):
            self._shell.set_attn_implementation("sdpa")
            self.attention = "sdpa"
        self._wanted = dict(_places(self._shell))
        self._give_back()

    def bind(self, bridge: Any) -> None:
        """Take note of what the bridge is like when nobody has changed it.

        Args:
            bridge: made of the same model.
        """
        if self._impossible is not None:
            return
        model = bridge.original_model
        lent: dict[str, Tensor] = {}
        unclear, of_the_bridge = [], []
        for name, place in _places(model):
            plain = name.replace(WRAPPER, "")
            if plain not in self._wanted:  # perhaps a bias that the bridge gives the unembedding
                left_out = _left_out(self._shell, plain)
                self._wanted |= {} if left_out is None else {plain: left_out}
            if plain not in self._wanted:
                of_the_bridge.append(place)
            elif plain not in lent:
                self._loans.append((place, self._wanted[plain]))
                lent[plain] = place.tensor
            elif lent[plain] is not place.tensor:
                unclear.append(plain)
        unclear += sorted(set(self._wanted) - set(lent))
        self._parts = [(part, *self._whole(part)) for part in of_the_bridge]
        self._states = [ModuleState.of(module) for module in model.modules()]
        self._blocks = _blocks(self._shell, bridge)
        if unclear:
            self._impossible = (
                f"its bridge does not keep the weights {unclear[:4]} as they were. {_HOOKED}"
            )
        elif self._blocks is None:
            self._impossible = f"its blocks are not found in the plain model. {_HOOKED}"

    def _whole(self, part: _Place) -> tuple[_Place | None, int]:
        """The weight in whose memory a part of it lies, and how far in; None for a copy."""
        start = part.tensor.data_ptr()
        for whole, _ in self._loans:
            offset = start - whole.tensor.data_ptr()
            if 0 <= offset < whole.tensor.nbytes:
                return whole, offset
        return None, 0

    def why_not(self, bridge: Any) -> str | None:
        """Why the plain model would not show what the bridge computes now.

        Args:
            bridge: the bridge, perhaps changed since.

        Returns:
            The reason and what to do about it, to end a sentence with; None if there is none.
        """
        if self._impossible is not None:
            return self._impossible
        if bridge.compatibility_mode or bridge._weights_processed:
            return "it is in compatibility mode. Load it without, or pass forward='hooked'."
        changed = first_change(bridge.original_model, self._states)
        if changed is not None:
            return f"{changed}, which only the hooked forward shows. Undo it. {_HOOKED}"
        if any(
            whole is None or part.tensor.data_ptr() - whole.tensor.data_ptr() != offset
            for part, whole, offset in self._parts
        ):
            return (
                "its bridge split fused weights into tensors of their own, which may have been "
                "edited apart. Load it in the dtype and on the device where it is to run, or pass "
                "forward='hooked'."
            )
        return None

    @torch.no_grad()
    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        attention_mask: Int[Tensor, "batch pos"],
        checked: Int[Tensor, " n_checked"],
        *,
        last_only: bool = False,
    ) -> tuple[Float[Tensor, "layer batch pos d_model"], Float[Tensor, "batch n_checked d_vocab"]]:
        """Residual stream of every layer; for a bridge that there is no reason against.

        Args:
            tokens: token ids, on the model's device.
            attention_mask: 1 where a token is real.
            checked: positions of which the logits are wanted.
            last_only: keep the output of the last block alone.

        Returns:
            Input of the first block and output of every one, or the last of these; the model's own
            logits at the positions `checked`.
        """
        assert self._blocks is not None
        recorded = _last_recorded if last_only else _recorded
        with self._borrowed(), recorded(self._blocks) as states:
            logits = self._shell(
                input_ids=tokens,
                attention_mask=attention_mask,
                use_cache=False,
                logits_to_keep=checked,
            ).logits
        return states[0], logits

    @property
    def impossible(self) -> str | None:
        """Why this bridge has no plain model at all, whatever state it is in; None if it has."""
        return self._impossible

    @contextmanager
    def lent(self) -> Iterator[tuple[nn.Module, nn.ModuleList]]:
        """The plain model with the bridge's weights, for a bridge that there is no reason against.

        Yields:
            The model and its blocks; without weights again afterwards.
        """
        assert self._blocks is not None
        with self._borrowed():
            yield self._shell, self._blocks

    @contextmanager
    def _borrowed(self) -> Iterator[None]:
        try:
            for ours, theirs in self._loans:
                theirs.put(ours.tensor)
            yield
        finally:
            self._give_back()

    def _give_back(self) -> None:
        for place in self._wanted.values():
            place.put(None)


def _why_no_copy(model: Any) -> str | None:
    """What rules the plain forward out for as long as the model lives."""
    parts = list(model.modules())
    if any(hasattr(m, "_hf_hook") for m in parts):
        return f"it is shared out over several devices. {_HOOKED}"
    if any(hasattr(m, "base_layer") for m in parts):
        return "it has a live adapter. Load it with merge_adapter=True, or pass forward='hooked'."
    if any("dynamic" in str(getattr(m, "rope_type", "")) for m in parts):
        return f"its rotary embedding changes from run to run (dynamic). {_HOOKED}"
    return None


def _can_fuse(model: Any) -> bool:
    """Whether SDPA computes what the model's own attention does; it cannot cap the scores."""
    capped = getattr(model.config, "attn_logit_softcapping", None) is not None
    return model._supports_sdpa and model._can_set_attn_implementation() and not capped


def _blocks(shell: nn.Module, bridge: Any) -> nn.ModuleList | None:
    """The decoder blocks of the plain model, under the name that the bridge has for them."""
    component = bridge.adapter.component_mapping.get("blocks")
    try:
        found = shell.get_submodule(str(component.name if component else None))
    except AttributeError:
        return None
    if isinstance(found, nn.ModuleList) and len(found) == bridge.cfg.n_layers:
        return found
    return None


@contextmanager
def _recorded(blocks: nn.ModuleList) -> Iterator[list[Tensor]]:
    """Collects the residual stream in one tensor, so that no layer is held twice."""
    stack: list[Tensor] = []

    def before(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        state = args[0] if args else kwargs["hidden_states"]
        stack.append(state.new_empty(len(blocks) + 1, *state.shape))
        stack[0][0] = state

    def after(layer: int) -> Any:
        def keep(_block: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            stack[0][layer] = output[0] if isinstance(output, tuple) else output

        return keep

    handles = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [b.register_forward_hook(after(i)) for i, b in enumerate(blocks, start=1)]
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _last_recorded(blocks: nn.ModuleList) -> Iterator[list[Tensor]]:
    """Collects the output of the last block, as a stack of one layer."""
    stack: list[Tensor] = []

    def keep(_block: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
        stack.append((output[0] if isinstance(output, tuple) else output)[None])

    handle = blocks[-1].register_forward_hook(keep)
    try:
        yield stack
    finally:
        handle.remove()


def _places(model: nn.Module) -> list[tuple[str, _Place]]:
    """All parameters and buffers, under every name of a tensor that has several."""
    return [
        (f"{path}.{key}" if path else key, _Place(owner, table, key))
        for path, owner in model.named_modules(remove_duplicate=False)
        for table in ("_parameters", "_buffers")
        for key, tensor in getattr(owner, table).items()
        if tensor is not None
    ]


def _left_out(shell: nn.Module, name: str) -> _Place | None:
    """The place of a parameter that its module was made without; None if that is not so."""
    path, _, key = name.rpartition(".")
    try:
        owner = shell.get_submodule(path)
    except AttributeError:
        return None
    return _Place(owner, "_parameters", key) if owner._parameters.get(key, shell) is None else None
