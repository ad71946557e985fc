"""The organism grid: which small organisms are trained to ask what makes transcription appear.

Two questions, one factor each: does it need a *text* model to begin with (``init``), and does it
need *interleaved* documents (``data``)? All cells have the same sizes, optimiser, numbers of speech
steps and rows; a cell that begins with text has its text stage before them.

| data | documents |
|---|---|
| ``speech`` | spoken stories alone; the text rows stay in the vocabulary and are never a target |
| ``balanced`` | spoken and written stories, about as many tokens of each, never in one document |
| ``interleaved`` | the organism's mixture: stories that switch at words, and some of each kind |

Source: the ablation of Sternberg et al. 2026, arXiv:2606.22473 (text initialisation against random
initialisation; speech alone, balanced, interleaved); sizes and mixtures are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from slm_lens._typed_entries import typed_entries
from slm_lens._yaml import read_yaml
from slm_lens.organism.documents import Mixture
from slm_lens.organism.recipe import ORGANISM, Recipe, Stage

Init = Literal["text", "random"]
GridData = Literal["speech", "balanced", "interleaved"]
INITS: tuple[Init, ...] = get_args(Init)
GRID_DATA: tuple[GridData, ...] = get_args(GridData)

_TEXT, _SWITCHING, _SETTLING = ORGANISM.stages
_MIXTURES: Mapping[str, Mixture] = MappingProxyType(
    {
        "speech": Mixture(text=0.0, speech=1.0),
        # By trial: the card of a cell has the shares of tokens.
        "balanced": Mixture(text=0.83, speech=0.17),
    }
)


@dataclass(frozen=True, kw_only=True)
class GridCell:
    """One organism of the grid.

    Attributes:
        init: what the weights are before speech is learned.
        data: which documents speech is learned from.
        seed: seed of weights and documents.
        speech_share: share of words that are spoken in interleaved documents.

    Raises:
        ValueError: a share outside (0, 1), or one for documents that are not interleaved.
    """

    init: Init
    data: GridData
    seed: int = 0
    speech_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.speech_share < 1 or (
            self.data != "interleaved" and self.speech_share != 0.5
        ):
            raise ValueError(
                f"GridCell: got speech_share={self.speech_share} with data={self.data!r}, expected "
                "a share between 0 and 1, and only for interleaved documents."
            )

    @property
    def group(self) -> str:
        """The cell without its seed, such as ``text-interleaved``."""
        share = "" if self.speech_share == 0.5 else f"-{round(100 * self.speech_share)}"
        return f"{self.init}-{self.data}{share}"

    @property
    def name(self) -> str:
        """The cell with its seed, such as ``text-interleaved-0``."""
        return f"{self.group}-{self.seed}"


_Pair = tuple[Init, GridData]
_MAIN: tuple[_Pair, ...] = (
    ("text", "interleaved"),
    ("random", "interleaved"),
    ("text", "balanced"),
)
_OTHERS: tuple[_Pair, ...] = (("text", "speech"), ("random", "balanced"), ("random", "speech"))


def _default_cells() -> tuple[GridCell, ...]:
    first = tuple(GridCell(init=i, data=d) for i, d in (*_MAIN, *_OTHERS))
    return first + tuple(GridCell(init=i, data=d, seed=s) for s in (1, 2) for i, d in _MAIN)


@dataclass(frozen=True, kw_only=True)
class GridConfig:
    """What is trained; one YAML file.

    Attributes:
        cells: in the order in which they are trained.
        frame_rate_hz: frames per second that units are made of.
        n_stories: spoken training stories.
        d_model: width of the residual stream.
        n_layers: transformer layers.
        d_mlp: width of the MLPs.
        n_rows: rows of a batch.
        n_positions: tokens in a row.
        text_steps: steps on text alone, of cells that begin with text.
        switching_steps: steps of the organism's second stage.
        settling_steps: steps of its third.
        snapshots: numbers of steps with speech after which a cell is kept as it is.

    Raises:
        ValueError: no cell, a cell twice, or a number that is too small.
    """

    cells: tuple[GridCell, ...] = _default_cells()
    frame_rate_hz: float = 25.0
    n_stories: int = 12_000
    d_model: int = 128
    n_layers: int = 6
    d_mlp: int = 384
    n_rows: int = 4
    n_positions: int = 256
    text_steps: int = 400
    switching_steps: int = 3000
    settling_steps: int = 1000
    snapshots: tuple[int, ...] = (0, 100, 200, 400, 700, 1000, 1400, 1800, 2200, 2600, 3000, 3500)

    def __post_init__(self) -> None:
        names = [c.name for c in self.cells]
        sizes = [self.n_stories, self.n_rows, self.text_steps, self.switching_steps]
        sizes += [self.settling_steps, self.d_model, self.n_layers, self.d_mlp]
        if not names or len(set(names)) != len(names) or min(sizes) < 1 or self.n_positions < 2:
            raise ValueError(
                f"GridConfig: got cells {names} and sizes {sizes} with "
                f"n_positions={self.n_positions}, expected at least one cell, each once, and sizes "
                "of at least 1 (2 positions)."
            )

    def recipe(self, cell: GridCell) -> Recipe:
        """What a cell is trained with.

        Args:
            cell: one of the grid.

        Returns:
            Its recipe. The stages with speech are the same for all cells but for their mixture.
        """
        stages = [
            replace(_SWITCHING, n_steps=self.switching_steps, mixture=_mixture(cell, _SWITCHING)),
            replace(_SETTLING, n_steps=self.settling_steps, mixture=_mixture(cell, _SETTLING)),
        ]
        return self._sized(self._text_stages(cell) + tuple(stages), cell.seed)

    def text_recipe(self, seed: int) -> Recipe:
        """What all cells of one seed that begin with text have in common.

        Args:
            seed: of weights and documents.

        Returns:
            The text stage alone.
        """
        return self._sized((replace(_TEXT, n_steps=self.text_steps),), seed)

    def _text_stages(self, cell: GridCell) -> tuple[Stage, ...]:
        return self.text_recipe(cell.seed).stages if cell.init == "text" else ()

    def _sized(self, stages: tuple[Stage, ...], seed: int) -> Recipe:
        return Recipe(
            stages,
            frame_rate_hz=self.frame_rate_hz,
            n_stories=self.n_stories,
            d_model=self.d_model,
            n_layers=self.n_layers,
            d_mlp=self.d_mlp,
            n_rows=self.n_rows,
            n_positions=self.n_positions,
            seed=seed,
        )


def _mixture(cell: GridCell, stage: Stage) -> Mixture:
    if cell.data == "interleaved":
        return replace(stage.mixture, speech_share=cell.speech_share)
    return _MIXTURES[cell.data]


def read_grid_config(path: Path) -> GridConfig:
    """Read a grid from YAML; what is left out keeps its default.

    Args:
        path: the file, with entries as `GridConfig` has them, such as
            ``cells: [{init: text, data: interleaved, seed: 3}]``.

    Returns:
        The grid.

    Raises:
        LookupError: there is no such file.
        ValueError: it is no YAML, or an entry is unknown or of the wrong type.
    """
    if not path.is_file():
        raise LookupError(f"organism grid: no file {path}, expected the YAML of a grid.")
    try:
        entries = read_yaml(path)
    except ValueError as error:
        raise ValueError(f"organism grid: {path}: {error}.") from error
    return typed_entries(GridConfig, entries, f"organism grid: {path}")
