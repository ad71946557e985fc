"""Where in a model something is read or changed: a hook of one layer, or one head of it.

Names are those of TransformerLens: ``Site("resid_pre", 3)`` is ``blocks.3.hook_resid_pre``. Keys
and values have one head for each group of queries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

SiteKind = Literal[
    "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern"
]
SITE_KINDS: tuple[SiteKind, ...] = get_args(SiteKind)
HEAD_KINDS: tuple[SiteKind, ...] = ("q", "k", "v", "z", "pattern")
_STREAM_KINDS: tuple[SiteKind, ...] = ("resid_pre", "resid_mid", "resid_post")


@dataclass(frozen=True, order=True)
class Site:
    """An activation of one layer.

    Attributes:
        kind: which activation.
        layer: block, counted from 0.
        head: head, counted from 0, for ``q``, ``k``, ``v``, ``z`` and ``pattern``; None for all
            heads, and elsewhere.

    Raises:
        ValueError: an unknown kind, or a head where there is none.
    """

    kind: SiteKind
    layer: int
    head: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in SITE_KINDS:
            raise ValueError(f"Site: got kind {self.kind!r}, expected one of {SITE_KINDS}.")
        if self.head is not None and self.kind not in HEAD_KINDS:
            raise ValueError(
                f"Site: got head {self.head} of {self.kind!r}, expected a head only for "
                f"{HEAD_KINDS}. Leave `head` out."
            )

    @property
    def hook(self) -> str:
        """Name of its hook."""
        inner = "attn." if self.kind in HEAD_KINDS else ""
        return f"blocks.{self.layer}.{inner}hook_{self.kind}"

    @property
    def label(self) -> str:
        """Short name for tables and axes, such as ``L3H1 z``."""
        head = "" if self.head is None else f"H{self.head}"
        return f"L{self.layer}{head} {self.kind}"


def sites(
    model: Any,
    kind: SiteKind,
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | Literal["each"] | None = None,
) -> tuple[Site, ...]:
    """Sites of one kind in several layers.

    Args:
        model: the model, for how many layers and heads it has.
        kind: which activation.
        layers: which layers; None for all.
        heads: which heads, each a site of its own, or ``"each"``; None for all heads together.

    Returns:
        The sites, by layer, then head.

    Raises:
        ValueError: a layer or head that the model does not have, or twice.
    """  # noqa: DOC502 (raised by check_sites)
    n_layers = model.cfg.n_layers
    for what, numbers in (("layers", layers), ("heads", None if heads == "each" else heads)):
        check_numbers(numbers, what, "sites")
    chosen = range(n_layers) if layers is None else layers
    found = []
    for layer in chosen:
        if heads is None:
            found.append(Site(kind, layer))
            continue
        of_layer = range(n_heads(model, kind)) if heads == "each" else heads
        found += [Site(kind, layer, head) for head in of_layer]
    check_sites(model, found, "sites")
    return tuple(found)


def check_numbers(numbers: object, what: str, caller: str) -> None:
    """Refuse what is no list of different whole numbers.

    Args:
        numbers: what was given; None is fine.
        what: the argument's name.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: it is something else, or has a number twice.
    """
    if numbers is None:
        return
    given = list(numbers) if isinstance(numbers, Iterable) else None
    is_text = isinstance(numbers, str)
    if given is None or is_text or any(not isinstance(n, Integral) for n in given):
        raise ValueError(
            f"{caller}: got {what}={numbers!r}, expected whole numbers in a list, such as [3, 4]."
        )
    if len(set(given)) != len(given):
        raise ValueError(f"{caller}: got {what}={given}, expected no number twice.")


def n_heads(model: Any, kind: SiteKind) -> int:
    """How many heads an activation has: fewer for ``k`` and ``v`` of grouped queries.

    Args:
        model: the model.
        kind: which activation.

    Returns:
        Heads.
    """
    grouped = model.cfg.n_key_value_heads
    return int(grouped if kind in ("k", "v") and grouped else model.cfg.n_heads)


def check_sites(model: Any, wanted: Sequence[Site], caller: str) -> None:
    """Refuse sites that a model does not have.

    Args:
        model: the model.
        wanted: the sites.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: there is none, or a layer or head does not exist.
    """
    if not wanted:
        raise ValueError(f"{caller}: got no site, expected at least one.")
    n_layers = model.cfg.n_layers
    for site in wanted:
        if not 0 <= site.layer < n_layers:
            raise ValueError(
                f"{caller}: got layer {site.layer} of a model of {n_layers} layers, expected 0 to "
                f"{n_layers - 1}. What the last block gives is resid_post of {n_layers - 1}."
            )
        if site.head is not None and not 0 <= site.head < n_heads(model, site.kind):
            raise ValueError(
                f"{caller}: got head {site.head} of {site.kind!r}, expected 0 to "
                f"{n_heads(model, site.kind) - 1}. Keys and values of grouped queries have fewer "
                "heads."
            )


def is_stream(kind: SiteKind) -> bool:
    """Whether an activation is the residual stream itself."""
    return kind in _STREAM_KINDS
