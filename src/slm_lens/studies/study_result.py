"""`StudyResult`: tables, what they say in sentences, and how they came about."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from slm_lens._atomic import write_atomically
from slm_lens._pictured import Pictured
from slm_lens.model._facts import provenance_from, write_facts
from slm_lens.model.provenance import Provenance


@dataclass(frozen=True, eq=False)
class StudyTable:
    """A table of a study.

    Attributes:
        frame: rows; what was counted stands in a column that begins with ``n_``.
        caption: what a row is, with units, in one or two sentences.
        on_page: whether the page shows it, or only names its file.
    """

    frame: pl.DataFrame
    caption: str
    on_page: bool = False


@dataclass(frozen=True, eq=False)
class StudyResult(Pictured):
    """What a study found; holds no model.

    Attributes:
        study: name of the study.
        findings: sentences with their numbers: estimate, 95 % interval, control, n.
        tables: by the name of their file.
        provenance: what the numbers of each model depend on, by the model's name.
        settings: options of the run, and whatever else is needed to repeat it; plain values.
    """

    study: str
    findings: tuple[str, ...]
    tables: Mapping[str, StudyTable]
    provenance: Mapping[str, Provenance]
    settings: Mapping[str, Any]

    def frame(self, name: str) -> pl.DataFrame:
        """One table.

        Args:
            name: of its file, without ending.

        Returns:
            Its rows.

        Raises:
            LookupError: there is none of that name.
        """
        if name not in self.tables:
            raise LookupError(
                f"StudyResult.frame: got {name!r}, expected a table of study {self.study!r}: "
                f"{sorted(self.tables)}."
            )
        return self.tables[name].frame

    def write(self, folder: Path) -> None:
        """Write ``study.json`` and a Parquet file for each table.

        Each file appears in full or not at all; ``study.json`` is the last.

        Args:
            folder: made if needed; earlier files are replaced.
        """
        for name, table in self.tables.items():
            write_atomically(folder / f"{name}.parquet", table.frame.write_parquet)
        facts = {
            "study": self.study,
            "findings": self.findings,
            "tables": {
                n: {"caption": t.caption, "on_page": t.on_page} for n, t in self.tables.items()
            },
            "provenance": {name: asdict(p) for name, p in self.provenance.items()},
            "settings": dict(self.settings),
        }
        write_facts(folder / "study.json", facts)


def read_study(folder: Path) -> StudyResult:
    """Read what `StudyResult.write` wrote.

    Args:
        folder: where it was written.

    Returns:
        An equal result.

    Raises:
        LookupError: the folder holds no study, or one of its tables is missing.
        ValueError: ``study.json`` is not what this version writes.
    """
    path = folder / "study.json"
    if not path.is_file():
        raise LookupError(
            f"read_study: no study.json in {folder}, expected a folder that `slm-lens study` wrote."
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        told = {n: (str(t["caption"]), bool(t["on_page"])) for n, t in facts["tables"].items()}
        absent = [f"{n}.parquet" for n in told if not (folder / f"{n}.parquet").is_file()]
        if absent:
            raise LookupError(
                f"read_study: {absent} of study.json are not in {folder}, expected all of its "
                "tables beside it."
            )
        return StudyResult(
            study=str(facts["study"]),
            findings=tuple(map(str, facts["findings"])),
            tables={
                n: StudyTable(pl.read_parquet(folder / f"{n}.parquet"), caption, on_page)
                for n, (caption, on_page) in told.items()
            },
            provenance={
                n: provenance_from(p, f"read_study: provenance in {path}")
                for n, p in facts["provenance"].items()
            },
            settings=dict(facts["settings"]),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"read_study: {path} is not what this version of slm-lens writes ({error!r}). Run the "
            "study again."
        ) from error
