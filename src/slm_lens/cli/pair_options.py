"""The options that say which pairs of runs to take, for every command that takes some."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slm_lens.cli.phases import Missing, Overlap, Policy

if TYPE_CHECKING:
    from slm_lens.interventions.pairs.run_pair import RunPair
    from slm_lens.model.hooked import HookedSLM

FACTS = "facts"
"""Name of the pairs in the organism's own language."""

PairsName = Annotated[
    str,
    typer.Argument(help="Table of pairs (.csv, .jsonl, .parquet), or 'facts' for an organism's."),
]


class Modality(StrEnum):
    """Modalities of a run."""

    speech = "speech"
    text = "text"


class Match(StrEnum):
    """Which spans of two runs stand for each other."""

    words = "words"
    word_ends = "word_ends"
    units = "units"


class Known(StrEnum):
    """Which runs of a pair of facts the model must answer."""

    both = "both"
    clean = "clean"
    any = "any"


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """How a table of pairs is read, and which facts are paired."""

    match: Annotated[
        Match, typer.Option(help="What stands for each other: words, their ends, or units.")
    ] = Match.words
    policy: Annotated[
        Policy | None,
        typer.Option(help="Table: tokens that count as a word; else the family's choice."),
    ] = None
    overlap: Annotated[
        Overlap | None,
        typer.Option(help="Table: words that overlap in time; refused if left out."),
    ] = None
    missing: Annotated[
        Missing | None, typer.Option(help="Table: words without times; refused if left out.")
    ] = None
    clean: Annotated[
        Modality | None, typer.Option(help="Facts: modality of the clean run; else speech.")
    ] = None
    corrupted: Annotated[
        Modality | None, typer.Option(help="Facts: modality of the corrupted run; else speech.")
    ] = None
    continue_in: Annotated[
        Modality | None, typer.Option(help="Facts: modality of the answer; else text.")
    ] = None
    known: Annotated[
        Known | None, typer.Option(help="Facts: runs that the model must answer; else both.")
    ] = None
    partners: Annotated[
        int | None, typer.Option(min=1, help="Facts: corrupted facts for each clean one; else 1.")
    ] = None
    relations: Annotated[
        str | None, typer.Option(help="Facts: such as 'home,food'; all if left out.")
    ] = None
    pair_seed: Annotated[
        int | None, typer.Option(help="Facts: seed of partners and voices; else 0.")
    ] = None

    def load(self, model: "HookedSLM", name: str) -> "tuple[tuple[RunPair, ...], str]":
        """The pairs, and what is to be said of them.

        Args:
            model: reads them.
            name: path of a table, or ``facts``.

        Returns:
            The pairs, and how many there are.

        Raises:
            ValueError: an option for the other kind of pairs.
        """
        from slm_lens.corpus.pairs import read_pairs
        from slm_lens.organism.pairs import organism_pairs

        of_table = {
            "policy": self.policy, "overlap": self.overlap, "missing": self.missing
        }  # fmt: skip
        of_facts = {
            "clean": self.clean, "corrupted": self.corrupted, "continue_in": self.continue_in,
            "known": self.known, "n_partners": self.partners, "seed": self.pair_seed,
            "relations": None if self.relations is None else tuple(self.relations.split(",")),
        }  # fmt: skip
        is_facts = name == FACTS
        foreign = _given(of_table if is_facts else of_facts)
        if foreign:
            named = {"n_partners": "partners", "seed": "pair_seed"}
            names = [f"--{named.get(option, option)}" for option in foreign]
            raise ValueError(
                f"PAIRS: got {name!r} with {', '.join(names).replace('_', '-')}, expected only "
                f"options that go with it: these go with {'a table' if is_facts else repr(FACTS)} "
                "alone. Leave them out."
            )
        if is_facts:
            made = organism_pairs(model, match=self.match.value, **_given(of_facts))
            return made.pairs, made.summary()
        pairs = read_pairs(model, Path(name), match=self.match.value, **_given(of_table))
        return pairs, f"{len(pairs)} pairs of {name}"


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Options that were given, as plain values."""
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in options.items()
        if value is not None
    }


def numbers(option: str, given: str | None) -> list[int] | None:
    """Whole numbers as one writes them: ``0,3,5-7``.

    Args:
        option: the option, for the message.
        given: what was written; None for nothing.

    Returns:
        The numbers, in the order written; None for nothing.

    Raises:
        ValueError: it is no such list.
    """
    if given is None:
        return None
    found: list[int] = []
    for part in given.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{option}: got {given!r}, expected whole numbers such as 0,3,5-7.")
        if dash and int(last) < int(first):
            raise ValueError(
                f"{option}: got {given!r}, in which {part.strip()} has no number, expected the "
                f"lower one first. Give {last}-{first}."
            )
        found += range(int(first), int(last if dash else first) + 1)
    return found


def decimals(option: str, given: str) -> list[float]:
    """Numbers as one writes them: ``0,0.5,-1``.

    Args:
        option: the option, for the message.
        given: what was written.

    Returns:
        The numbers, in the order written.

    Raises:
        ValueError: it is no such list.
    """
    try:
        return [float(part) for part in given.split(",")]
    except ValueError:
        raise ValueError(f"{option}: got {given!r}, expected numbers such as 0,0.5,1.") from None
