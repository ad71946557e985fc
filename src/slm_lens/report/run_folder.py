"""The folder that a run leaves: tables by model, sound of the clips, and what says where all is.

```text
run.json            schema version, models, clips, settings, versions of packages
summary.json        headline numbers of every model
<model>/            phases, word table, lens grids
clips/<name>.flac   sound of the utterances that have a lens grid
```
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import soundfile

from slm_lens._atomic import write_atomically
from slm_lens._json import read_json_object
from slm_lens.lens.grid_files import read_lens_grids
from slm_lens.lens.grid_result import LensGrid
from slm_lens.lens.word_lens import WordLens, read_word_lens
from slm_lens.model._facts import write_facts
from slm_lens.phases.result import Phases, read_phases
from slm_lens.speech.audio import read_audio
from slm_lens.studies.phase_study import PhaseStudy

SCHEMA_VERSION = 1
RATE_HZ = 16000
"""Sample rate at which clips are kept: what unit tokenizers of speech hear."""

_PACKAGES = ("slm-lens", "torch", "transformers", "transformer-lens")
_FACTS = ("schema_version", "models", "clips", "settings", "packages")


@dataclass(frozen=True, eq=False)
class RunOfModel:
    """What a run found of one model.

    Attributes:
        phases: curves and phase layers.
        words: the word table.
        grids: lens grids of some utterances.
    """

    phases: Phases
    words: WordLens
    grids: tuple[LensGrid, ...]


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder that was read.

    Attributes:
        models: one for each model, in the order of the run.
        clips: sound file of each utterance that was kept, by name.
        settings: how it was measured.
        packages: versions of the packages that measured it.
    """

    models: tuple[RunOfModel, ...]
    clips: Mapping[str, Path]
    settings: Mapping[str, Any]
    packages: Mapping[str, str]


def write_run(
    studies: Sequence[PhaseStudy],
    out: Path,
    *,
    clips: Mapping[str, Path],
    settings: Mapping[str, Any],
) -> None:
    """Write ``run.json``, and the sound of the clips; the tables are there already.

    Args:
        studies: what was found.
        out: the folder.
        clips: sound file of each utterance, by name.
        settings: how it was measured.
    """
    names = dict.fromkeys(g.utterance for s in studies for g in s.grids if g.utterance in clips)
    kept = {name: f"clips/{number:04d}.flac" for number, name in enumerate(names)}
    for name, place in kept.items():
        samples = read_audio(clips[name], sample_rate_hz=RATE_HZ, silence_dbfs=None).numpy()
        write_atomically(
            out / place, lambda part, x=samples: soundfile.write(part, x.clip(-1, 1), RATE_HZ)
        )
    facts = {
        "schema_version": SCHEMA_VERSION,
        "models": [Path(s.phases.model).name for s in studies],
        "clips": kept,
        "settings": dict(settings),
        "packages": {name: version(name) for name in _PACKAGES},
    }
    write_facts(out / "run.json", facts)


def read_run(folder: Path) -> Run:
    """Read what ``slm-lens phases`` or ``slm-lens demo`` wrote.

    Args:
        folder: the run's.

    Returns:
        The run.

    Raises:
        LookupError: the folder holds no run.
        ValueError: another version wrote it, or a file that it names is not there.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise LookupError(
            f"report_run: no run.json in {folder}, expected a folder that slm-lens phases or "
            "slm-lens demo wrote, of this version. Is it one level up? If it is older, run it "
            "again."
        )
    facts = read_json_object(path)
    if facts.get("schema_version") != SCHEMA_VERSION or set(facts) != set(_FACTS):
        raise ValueError(
            f"report_run: {path} has schema version {facts.get('schema_version')!r} and "
            f"{sorted(facts)}, expected version {SCHEMA_VERSION} with {sorted(_FACTS)}. Another "
            "version wrote it: run it again."
        )
    clips = {name: folder / place for name, place in facts["clips"].items()}
    inside = folder.resolve()
    absent = [
        str(p) for p in clips.values() if not p.is_file() or inside not in p.resolve().parents
    ]
    if absent:
        raise ValueError(
            f"report_run: {path} names {absent[:3]}, which are not in the folder; expected the "
            "sound of every clip that it lists. Was the folder copied in part?"
        )
    models = tuple(_read_model(folder / name) for name in facts["models"])
    return Run(models, clips, facts["settings"], facts["packages"])


def _read_model(folder: Path) -> RunOfModel:
    has_grids = (folder / "lens_grids.json").is_file()
    return RunOfModel(
        phases=read_phases(folder),
        words=read_word_lens(folder),
        grids=read_lens_grids(folder) if has_grids else (),
    )
