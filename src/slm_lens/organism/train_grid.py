"""Trains an organism grid: cell by cell, resumable at any step, with snapshots along the way."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slm_lens._console import make_console
from slm_lens.organism.corpus import (
    N_UNITS,
    SpokenStory,
    build_corpus,
    fit_centroids,
)
from slm_lens.organism.documents import DocumentWriter
from slm_lens.organism.export import export_organism
from slm_lens.organism.grid import GridCell, GridConfig
from slm_lens.organism.recipe import Recipe, Stage
from slm_lens.organism.run import measure
from slm_lens.organism.tokenizer import n_text_tokens, speech_text_tokenizer
from slm_lens.organism.train import Trainer
from slm_lens.speech.mfcc import MfccKMeans

_N_COUNTED_ROWS = 200


def train_grid(
    config: GridConfig,
    out: Path,
    *,
    device: str,
    n_workers: int,
    only: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Train the cells of a grid, or go on with them.

    Args:
        config: which cells, of which size.
        out: folder: ``corpus-N.npz``, and for each cell a folder with its checkpoint of training,
            ``snapshots/step-N`` and ``model``, which `slm_lens.load` reads. Run again with the same
            folder to go on; cells that are ready are left alone.
        device: ``"auto"`` (CUDA if there is one), ``"cpu"`` or ``"cuda"``.
        n_workers: processes that speak the corpus.
        only: names of cells to train now; none for all. Two processes may train different cells in
            one folder.

    Returns:
        The model folders of the cells, in order.

    Raises:
        LookupError: `only` names a cell that the grid does not have.
        ValueError: the folder has units of another frame rate, or a cell in it was trained with
            another recipe.
    """  # noqa: DOC502 (ValueError is raised by the parts)
    by_name = {c.name: c for c in config.cells}
    unknown = [n for n in only if n not in by_name]
    if unknown:
        raise LookupError(
            f"train_grid: got the cells {unknown}, expected some of {sorted(by_name)}."
        )
    out.mkdir(parents=True, exist_ok=True)
    units, stories = _spoken(out, config, n_workers)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    console = make_console()
    chosen = [by_name[n] for n in only] if only else list(config.cells)
    folders = []
    for i, cell in enumerate(chosen):
        console.print(f"{cell.name} ({i + 1} of {len(chosen)})", soft_wrap=True)
        folders.append(_CellTraining(config, cell, out, units, stories, device).run())
    return tuple(folders)


def _spoken(out: Path, config: GridConfig, n_workers: int) -> tuple[MfccKMeans, list[SpokenStory]]:
    rate_hz, n_stories = config.frame_rate_hz, config.n_stories
    if not (out / "unit_tokenizer.json").exists():
        MfccKMeans(fit_centroids(frame_rate_hz=rate_hz), frame_rate_hz=rate_hz).save(out)
    units = MfccKMeans.from_folder(out)
    if units.frame_rate_hz != rate_hz:
        raise ValueError(
            f"train_grid: {out} has a unit tokenizer at {units.frame_rate_hz:g} Hz, expected "
            f"{rate_hz:g} Hz. Give another folder."
        )
    return units, build_corpus(
        out / f"corpus-{n_stories}.npz", units, n_stories, n_workers=n_workers
    )


class _CellTraining:
    """One cell on its way from nothing to a model with its card."""

    def __init__(
        self,
        config: GridConfig,
        cell: GridCell,
        out: Path,
        units: MfccKMeans,
        stories: list[SpokenStory],
        device: str,
    ) -> None:
        self.config, self.cell, self.out = config, cell, out
        self.units, self.stories, self.device = units, stories, device
        self.folder = out / cell.name
        self.recipe = config.recipe(cell)

    def run(self) -> Path:
        ready = self.folder / "model"
        if (ready / "card.json").exists():
            self._check_ready(ready / "card.json")
            return ready
        self.folder.mkdir(exist_ok=True)
        if self.cell.init == "text" and not (self.folder / "training.pt").exists():
            shutil.copyfile(self._text_checkpoint(), self.folder / "training.pt")
        trainer = Trainer(
            self.recipe, self.folder, self.stories, device=self.device, on_step=self._snapshot
        )
        model = trainer.run()
        torch.nn.Module.to(model, "cpu")
        losses = {"final_loss_nats": float(np.mean(trainer.losses[-100:]))}
        export_organism(
            model, self.units, ready, card=self._card() | losses | measure(model, self.units)
        )
        return ready

    def _text_checkpoint(self) -> Path:
        """The checkpoint at the end of the text stage, which cells of one seed share."""
        folder = self.out / f"text-{self.cell.seed}"
        folder.mkdir(exist_ok=True)
        trainer = Trainer(
            self.config.text_recipe(self.cell.seed), folder, self.stories, device=self.device
        )
        trainer.run()
        return trainer.checkpoint

    def _snapshot(self, trainer: Trainer) -> None:
        stages = self.recipe.stages
        if not stages[trainer.stage_index].extended:
            return
        earlier = sum(s.n_steps for s in stages[: trainer.stage_index] if s.extended)
        n_steps = earlier + trainer.step
        folder = self.folder / "snapshots" / f"step-{n_steps:06d}"
        # The end of one stage and the start of the next are one moment.
        if n_steps in self.config.snapshots and not (folder / "card.json").exists():
            export_organism(
                trainer.model, self.units, folder, card=self._card() | {"n_speech_steps": n_steps}
            )

    def _card(self) -> dict[str, Any]:
        return {
            "recipe": self.cell.name,
            "cell": asdict(self.cell),
            **asdict(self.recipe),
            "token_shares": [
                token_shares(self.recipe, s, self.stories) for s in self.recipe.stages
            ],
        }

    def _check_ready(self, card: Path) -> None:
        made_with = json.loads(card.read_text(encoding="utf-8"))
        wanted = json.loads(json.dumps({"cell": asdict(self.cell), **asdict(self.recipe)}))
        different = sorted(k for k, v in wanted.items() if made_with.get(k) != v)
        if different:
            raise ValueError(
                f"train_grid: {card.parent} was trained with other {different}, expected those of "
                "this grid. Give another folder, or delete the cell's."
            )


def token_shares(recipe: Recipe, stage: Stage, stories: Sequence[SpokenStory]) -> dict[str, float]:
    """Which tokens a stage trains on, counted in documents drawn as it draws them.

    Args:
        recipe: gives the seed and the length of rows.
        stage: one of its stages.
        stories: the spoken corpus.

    Returns:
        Shares of ``text`` (end tokens among them), ``speech`` and ``markers``; they sum to 1.
    """
    tokenizer = speech_text_tokenizer(N_UNITS)
    writer = DocumentWriter(tokenizer, stories)
    generator = np.random.default_rng([recipe.seed, 0])
    tokens, _ = writer.rows(stage.mixture, _N_COUNTED_ROWS, recipe.n_positions, generator)
    first_unit, first_marker = n_text_tokens(), n_text_tokens() + N_UNITS
    n_text, n_units = (tokens < first_unit).sum(), (tokens < first_marker).sum()
    counts = {"text": n_text, "speech": n_units - n_text, "markers": tokens.numel() - n_units}
    return {name: float(n) / tokens.numel() for name, n in counts.items()}
