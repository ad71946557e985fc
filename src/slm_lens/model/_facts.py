"""The facts beside a table: what a result is besides its rows, as JSON."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from slm_lens._atomic import write_atomically
from slm_lens.model.provenance import Provenance


def write_facts(path: Path, facts: Mapping[str, object]) -> None:
    """Write the facts of a result; an interruption leaves the earlier file, or none.

    Args:
        path: the file; its folder is made if needed.
        facts: values that JSON has, and dataclasses of such values.
    """
    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False, default=asdict)
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_facts(folder: Path, stem: str, names: Iterable[str], *, reader: str) -> dict[str, Any]:
    """Read the facts of a result, whose provenance is among them.

    Args:
        folder: where the result was written.
        stem: name of its table and of its facts, without ``.parquet`` and ``.json``.
        names: the facts that the result has.
        reader: the public function to name in messages.

    Returns:
        The facts; ``provenance`` as `Provenance`.

    Raises:
        LookupError: the table or its facts are not there.
        ValueError: the facts are not JSON, or one is missing, such as the provenance.
    """
    path = folder / f"{stem}.json"
    absent = [p.name for p in (path, folder / f"{stem}.parquet") if not p.is_file()]
    if absent:
        raise LookupError(
            f"{reader}: no {' and no '.join(absent)} in {folder}, expected a folder that holds "
            "both the table and its facts. Is it one level deeper?"
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{reader}: {path} is not JSON ({error}), expected the facts of a result. Was it "
            "cut short or edited? If so, measure again."
        ) from error
    _require_names(f"{reader}: {path}", facts, names)
    facts["provenance"] = provenance_from(facts["provenance"], f"{reader}: provenance in {path}")
    return facts


def require_provenance(provenance: Provenance | None, writer: str) -> None:
    """Refuse to write numbers of which nobody could tell what they depend on.

    Args:
        provenance: the result's; None for one of a plain bridge.
        writer: the public function to name in the message.

    Raises:
        ValueError: there is none.
    """
    if provenance is None:
        raise ValueError(
            f"{writer}: got a result without provenance, expected one of a model that knows its "
            "name, dtype and attention. slm_lens.load makes one; a plain bridge's table can be "
            "written with to_frame().write_parquet."
        )


def provenance_from(facts: object, where: str) -> Provenance:
    """A provenance from its JSON.

    Args:
        facts: what the file holds in its place.
        where: the public function and the file, to begin messages with.

    Returns:
        The provenance.

    Raises:
        ValueError: it is no object, lacks a field, or has another.
    """  # noqa: DOC502 (raised by _require_names)
    named = dict(_require_names(where, facts, [f.name for f in fields(Provenance)]))
    hooks: tuple[str, ...] = tuple(named.pop("hooks"))
    return Provenance(**named, hooks=hooks)


def _require_names(where: str, facts: object, names: Iterable[str]) -> dict[str, Any]:
    """Refuse what was written by another version, or without provenance."""
    given = facts if isinstance(facts, dict) else {}
    lacking, foreign = sorted(set(names) - set(given)), sorted(set(given) - set(names))
    if lacking or foreign:
        raise ValueError(
            f"{where} lacks {lacking} and has {foreign} besides, expected what this version of "
            "slm-lens writes, with the provenance that the numbers depend on (dtype, attention, "
            "compatibility mode). It was written by another version: measure again."
        )
    return given
