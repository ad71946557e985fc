"""Views, and pages of them: one HTML file that needs nothing else.

A `View` is data and the name of the script that draws it; it knows no model. A `Page` holds views
and text. Each script and stylesheet is in a page once, whatever the number of views; nothing is
fetched from anywhere, and a content security policy holds the browser to that. Data is JSON that no
tag can leave, and scripts write it as text, so a token such as ``</script>`` is shown and not run.

```python
view.save("strip.html")  # a whole page
Page([view, PageText("What to see", "The third head reads the word before.")]).save("both.html")
```

A script is ``views/js/<kind>.js`` and calls ``slmLens.register("<kind>", draw)``; a stylesheet
``views/css/<kind>.css`` is taken along where there is one. What scripts may use stands at the head
of ``views/js/core.js``.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from slm_lens._atomic import write_atomically
from slm_lens.views._files import known_kinds, script_element, style_text
from slm_lens.views._json_script import json_for_script

Theme = Literal["auto", "light", "dark"]
THEMES: tuple[Theme, ...] = get_args(Theme)

_CORE = ("core", "dom", "colour")
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; font-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_FRAME_HEIGHT_PX = 480
# A page in a frame tells its height; one listener serves all frames of a notebook.
_FRAME_SCRIPT = """<script>
if (!window.slmLensFrames) {
  window.slmLensFrames = true;
  window.addEventListener("message", (event) => {
    const height = event.data && event.data.slmLensHeight;
    if (typeof height !== "number" || !(height > 0 && height < 20000)) return;
    for (const frame of document.querySelectorAll("iframe.slm-lens"))
      if (frame.contentWindow === event.source) frame.style.height = `${Math.ceil(height)}px`;
  });
}
</script>"""


@dataclass(frozen=True, eq=False)
class View:
    """Something that a browser draws. Frozen data; knows no model.

    Attributes:
        kind: which script draws it.
        data: JSON values and numpy arrays, by name; no HTML. Arrays arrive as typed arrays, numbers
            that are not finite as null.
        title: heading.
        description: what is seen, in one sentence; also read out by screen readers.
        utterance: views of one utterance on a page share the selected word, the pins and the time
            of the audio; None for a view that shares nothing.
        scripts: further scripts that the kind needs: ``"plotly"``, ``"circuitsvis"`` or files of
            ``views/js``, in order.

    Raises:
        ValueError: no script draws this kind, or title or description are empty.
    """

    kind: str
    data: Mapping[str, Any] = field(repr=False)
    title: str
    description: str
    utterance: str | None = None
    scripts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in known_kinds():
            raise ValueError(
                f"View: got kind={self.kind!r}, expected one of {known_kinds()}. A kind is a file "
                "in views/js."
            )
        if not self.title.strip() or not self.description.strip():
            raise ValueError(
                f"View: got title={self.title!r} and description={self.description!r}, expected "
                "both: the description is what somebody who cannot see the view is told."
            )

    def html(self) -> str:
        """A whole page with this view alone.

        Returns:
            The text of an HTML file.
        """
        return Page([self]).html()

    def save(self, path: str | PathLike[str]) -> Path:
        """Write `html` to a file.

        Args:
            path: the file, such as ``strip.html``; its folder is made if needed.

        Returns:
            The path.
        """
        return Page([self]).save(path)

    def _repr_html_(self) -> str:
        return Page([self])._repr_html_()


@dataclass(frozen=True)
class PageText:
    """Words between views.

    Attributes:
        title: heading; empty for none.
        text: paragraphs, separated by empty lines. No HTML: it is shown as written.
    """

    title: str
    text: str = ""


class Page:
    """Views and text, one below the other, as one file.

    Args:
        parts: what is on it, in order.
        title: name of the page, shown above the parts; None for the title of the first view, which
            is not shown twice.
        theme: ``"auto"`` follows the reader's system; ``"light"`` for print.

    Raises:
        TypeError: a part is neither a view nor text.
        ValueError: there is no part, or the theme is unknown.
    """

    def __init__(
        self,
        parts: Iterable[View | PageText],
        *,
        title: str | None = None,
        theme: Theme = "auto",
    ) -> None:
        self.parts = tuple(parts)
        odd = [type(p).__name__ for p in self.parts if not isinstance(p, View | PageText)]
        if odd:
            raise TypeError(f"Page: got parts of {odd}, expected View and PageText only.")
        if not self.parts:
            raise ValueError("Page: got no parts, expected at least one view or text.")
        if theme not in THEMES:
            raise ValueError(f"Page: got theme={theme!r}, expected one of {THEMES}.")
        self.title, self.theme = title, theme

    @property
    def views(self) -> tuple[View, ...]:
        """The views among the parts."""
        return tuple(part for part in self.parts if isinstance(part, View))

    def html(self) -> str:
        """The text of an HTML file that needs no other.

        Returns:
            From doctype to end.
        """
        kinds = list(dict.fromkeys(view.kind for view in self.views))
        further = list(dict.fromkeys(s for view in self.views for s in view.scripts))
        names = list(dict.fromkeys([*_CORE, *further, *kinds]))
        theme = "" if self.theme == "auto" else f' data-theme="{self.theme}"'
        title = self.title or next((p.title for p in self.parts if p.title), "slm-lens")
        heading = f"<h1>{html.escape(self.title)}</h1>\n" if self.title else ""
        drawn = [self._part(number, part) for number, part in enumerate(self.parts)]
        return "".join(
            [
                f'<!doctype html>\n<html lang="en"{theme}>\n<head>\n<meta charset="utf-8">\n',
                f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
                '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
                f"<title>{html.escape(title)}</title>\n",
                *(f"<style>\n{style_text(name)}</style>\n" for name in ["page", *further, *kinds]),
                f"</head>\n<body>\n<main>\n{heading}",
                "<noscript>This page draws its views with JavaScript.</noscript>\n",
                *drawn,
                "</main>\n",
                *(script_element(name) for name in names),
                "<script>slmLens.start();</script>\n</body>\n</html>\n",
            ]
        )

    def save(self, path: str | PathLike[str]) -> Path:
        """Write `html` to a file.

        Args:
            path: the file; its folder is made if needed.

        Returns:
            The path.
        """
        target = Path(path)
        text = self.html()
        write_atomically(target, lambda part: part.write_text(text, encoding="utf-8"))
        return target

    def _repr_html_(self) -> str:
        """The page in a frame that may run scripts and save files, and reach nothing else."""
        title = html.escape(self.title or next((v.description for v in self.views), "slm-lens"))
        style = f"width:100%;height:{_FRAME_HEIGHT_PX}px;border:0"
        return (
            f'<iframe class="slm-lens" title="{title}" sandbox="allow-scripts allow-downloads" '
            f'style="{style}" srcdoc="{html.escape(self.html())}"></iframe>\n{_FRAME_SCRIPT}'
        )

    def _part(self, number: int, part: View | PageText) -> str:
        if isinstance(part, PageText):
            title = f"<h2>{html.escape(part.title)}</h2>\n" if part.title else ""
            return f'<section class="words">\n{title}{_paragraphs(part.text)}</section>\n'
        title, description = html.escape(part.title), html.escape(part.description)
        sent: dict[str, Any] = {"utterance": part.utterance, "data": dict(part.data)}
        return (
            f'<section class="view" id="view-{number}" data-view="{number}" '
            f'data-kind="{part.kind}" aria-labelledby="title-{number}">\n'
            f'<h2 id="title-{number}">{title}</h2>\n<p class="description">{description}</p>\n'
            f'<div class="drawing" role="group" aria-label="{description}"></div>\n'
            f'<script type="application/json" id="data-{number}">{json_for_script(sent)}</script>\n'
            "</section>\n"
        )


def _paragraphs(text: str) -> str:
    parts: Sequence[str] = [p.strip() for p in text.split("\n\n")]
    return "".join(f"<p>{html.escape(p)}</p>\n" for p in parts if p)
