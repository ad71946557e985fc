"""How results show themselves in notebooks without knowing what draws them.

A result derives from `Pictured`. Pictures are drawn on a higher floor, which results may not
import; so the package itself, above all floors, says here what draws (`draw_with`), when it is
imported. What is drawn for which result stands in `slm_lens.views.of_results`.
"""

from collections.abc import Callable
from typing import Any

_draw: list[Callable[[Any], str]] = []


def draw_with(draw: Callable[[Any], str]) -> None:
    """Set what draws results.

    Args:
        draw: gives the HTML of a result.
    """
    _draw[:] = [draw]


class Pictured:
    """A result that a notebook shows as a picture."""

    def _repr_html_(self) -> str:
        (draw,) = _draw
        return draw(self)
