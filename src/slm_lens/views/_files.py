"""Scripts and stylesheets of views, from this package and from the packages that ship one."""

import base64
import gzip
import re
from functools import cache
from importlib.resources import files

_ROOM = files("slm_lens") / "views"
_SHARED = ("core", "dom", "colour")  # on every page; they draw nothing
_FOREIGN = ("plotly", "circuitsvis")


@cache
def known_kinds() -> tuple[str, ...]:
    """Kinds of views: the scripts that register one.

    Returns:
        Their names, sorted.
    """
    found = []
    for entry in (_ROOM / "js").iterdir():
        name = entry.name.removesuffix(".js")
        if name not in _SHARED and f'slmLens.register("{name}"' in entry.read_text("utf-8"):
            found.append(name)
    return tuple(sorted(found))


@cache
def script_text(name: str) -> str:
    """One script, as it may stand in a page.

    Args:
        name: ``"plotly"``, ``"circuitsvis"``, or a file of ``views/js`` without its ending.

    Returns:
        Its text, in which nothing ends the script element.

    Raises:
        LookupError: there is no such script.
    """
    if name == "plotly":
        from plotly.offline import get_plotlyjs

        return _inside_script(get_plotlyjs())
    if name == "circuitsvis":
        bundle = files("circuitsvis") / "dist" / "cdn" / "iife.js"
        return _inside_script(bundle.read_text("utf-8"))
    path = _ROOM / "js" / f"{name}.js"
    if not path.is_file():
        here = sorted(p.name.removesuffix(".js") for p in (_ROOM / "js").iterdir())
        raise LookupError(f"View: got the script {name!r}, expected one of {[*_FOREIGN, *here]}.")
    return _inside_script(path.read_text("utf-8"))


@cache
def script_element(name: str) -> str:
    """One script, as an element of a page; libraries of other packages come compressed.

    Args:
        name: as in `script_text`.

    Returns:
        The element. What is compressed is run by ``slmLens.start``, before anything is drawn.

    Raises:
        LookupError: there is no such script.
    """  # noqa: DOC502 (raised by script_text)
    text = script_text(name)
    if name not in _FOREIGN:
        return f"<script>\n{text}\n</script>\n"
    packed = base64.b64encode(gzip.compress(text.encode("utf-8"), mtime=0)).decode("ascii")
    return f'<script type="application/gzip" data-library="{name}">{packed}</script>\n'


@cache
def style_text(name: str) -> str:
    """One stylesheet; most kinds have none of their own.

    Args:
        name: a file of ``views/css`` without its ending.

    Returns:
        Its text, empty where there is no such file.
    """
    path = _ROOM / "css" / f"{name}.css"
    return path.read_text("utf-8") if path.is_file() else ""


def _inside_script(text: str) -> str:
    r"""``<\/script`` is the same string to JavaScript and ends no element; likewise ``<\!--``."""
    text = re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE)
    return re.sub(r"//# sourceMappingURL=.*", "", text.replace("<!--", r"<\!--"))
