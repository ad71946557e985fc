"""How results show themselves in a notebook, although pictures stand on a higher floor.

A result names no picture: it calls `html_of`, and the drawing function is looked up by the name of
the result's class and imported then. Adding a picture for a result is one line here.
"""

from importlib import import_module

_DRAWN_BY = {
    "Exploration": ("slm_lens.views.exploration", "exploration_page"),
    "LensGrid": ("slm_lens.views.lens_grid", "lens_grid_view"),
}


def html_of(result: object) -> str:
    """What a notebook shows of a result.

    Args:
        result: one whose class is listed.

    Returns:
        HTML in a frame of its own.
    """
    module, name = _DRAWN_BY[type(result).__name__]
    return getattr(import_module(module), name)(result)._repr_html_()
