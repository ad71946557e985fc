"""`Style`: sizes, fonts and colours of every chart, in print and on the screen alike.

Colours of lines: Okabe and Ito 2008, "Color universal design", which colour-blind readers tell
apart. Scales of heat maps: ColorBrewer's *BrBG* for effects, from brown over white (no effect) to
blue-green, and *PuBu* or greys for amounts, from white upwards (Harrower and Brewer 2003).

```python
wide = replace(slm_lens.Style(), font="Times New Roman", size_pt=8.0)
slm_lens.phases_figure(phases).save(Path("paper/phases"), style=wide)
```
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Dash = Literal["solid", "dashed", "dotted", "dash-dot", "long-dashed", "fine-dotted"]
Marker = Literal["circle", "square", "triangle", "diamond", "triangle-down", "cross"]
Weight = Literal["strong", "thin"]
ScaleName = Literal["effect", "amount", "quiet"]

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "current": "#0072B2",
        "next": "#D55E00",
        "text": "#009E73",
        "speech": "#CC79A7",
        "black": "#000000",
        "blue": "#0072B2",
        "vermillion": "#D55E00",
        "green": "#009E73",
        "purple": "#CC79A7",
        "orange": "#E69F00",
        "sky": "#56B4E9",
        "grey": "#666666",
        "empty": "#DDDDDD",
        "shade": "#F2F2F2",
    }
)
"""What a name of a colour means; anything else is a colour as ``#rrggbb``."""

_EFFECT = (
    "#543005", "#8C510A", "#BF812D", "#DFC27D", "#F6E8C3", "#F5F5F5",
    "#C7EAE5", "#80CDC1", "#35978F", "#01665E", "#003C30",
)  # fmt: skip
_AMOUNT = (
    "#FFFFFF", "#ECE7F2", "#D0D1E6", "#A6BDDB", "#74A9CF", "#3690C0", "#0570B0", "#045A8D",
    "#023858",
)  # fmt: skip
_QUIET = ("#FFFFFF", "#F0F0F0", "#D9D9D9", "#BDBDBD", "#A0A0A0")


@dataclass(frozen=True)
class Ink:
    """How one line or mark looks.

    Attributes:
        colour: a name in `Style.colours`, or ``#rrggbb``.
        dash: of the line.
        marker: at every point; None for none.
        weight: which of the two widths.
    """

    colour: str
    dash: Dash = "solid"
    marker: Marker | None = None
    weight: Weight = "strong"


INKS = (
    Ink("blue", "solid", "circle"),
    Ink("vermillion", "dashed", "square"),
    Ink("green", "dash-dot", "triangle"),
    Ink("purple", "dotted", "diamond"),
    Ink("orange", "long-dashed", "triangle-down"),
    Ink("black", "fine-dotted", "cross"),
)
"""Lines of one panel, in this order: dashes and markers tell them apart without colours, too."""


@dataclass(frozen=True)
class Style:
    """Looks of a chart; sizes are those of print, in points of 1/72 inch.

    Attributes:
        font: family of every text; it must be installed, for PNG files.
        size_pt: of labels.
        title_pt: of titles of panels.
        tick_pt: of numbers along axes, and of keys.
        note_pt: of subtitles and notes in panels.
        cell_pt: of numbers in cells.
        strong_pt: width of lines.
        thin_pt: width of lines of controls.
        axis_pt: width of axes and rules.
        marker_pt: size of markers along lines; those of peaks are twice as large.
        colours: what names of colours mean.
        effect: stops of the scale of signed effects, the middle one for 0.
        amount: stops of the scale of what has no sign.
        quiet: likewise, for cells with coloured frames: black text is legible on all of it.
        pixels_per_inch: how large an inch of print is on the screen; 144 makes 7 points of print
            14 pixels.
    """

    font: str = "DejaVu Sans"
    size_pt: float = 7.0
    title_pt: float = 8.0
    tick_pt: float = 6.5
    note_pt: float = 6.0
    cell_pt: float = 5.0
    strong_pt: float = 1.2
    thin_pt: float = 0.9
    axis_pt: float = 0.6
    marker_pt: float = 2.6
    colours: Mapping[str, str] = field(default_factory=lambda: COLOURS)
    effect: tuple[str, ...] = _EFFECT
    amount: tuple[str, ...] = _AMOUNT
    quiet: tuple[str, ...] = _QUIET
    pixels_per_inch: float = 144.0

    def colour(self, name: str) -> str:
        """What a name of a colour means.

        Args:
            name: as in `colours`, or ``#rrggbb``.

        Returns:
            The colour as ``#rrggbb``.

        Raises:
            LookupError: an unknown name.
        """
        if name.startswith("#"):
            return name
        if name not in self.colours:
            raise LookupError(
                f"Style.colour: got {name!r}, expected '#rrggbb' or one of {list(self.colours)}."
            )
        return self.colours[name]

    def stops(self, scale: ScaleName) -> tuple[str, ...]:
        """Colours of a scale, evenly spaced.

        Args:
            scale: ``"effect"``, ``"amount"`` or ``"quiet"``.

        Returns:
            The colours, from low to high.
        """
        return {"effect": self.effect, "amount": self.amount, "quiet": self.quiet}[scale]
