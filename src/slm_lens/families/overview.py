"""Every family in one table: what its class says, and what its description of a checkpoint says."""

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

from slm_lens.families.family import Family
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec

Code = Callable[[str], str]
"""Marks a token or a name as such: in backticks, or as it is."""

UNKNOWN = "not said"


def family_rows(families: Iterable[Family], code: Code = str) -> list[dict[str, str]]:
    """What is known of each family, by the title of its column.

    Streams, markers and prompts are read off the description that `Family.spec` gives for
    `Family.specimen`; a family without a specimen has "not said" there.

    Args:
        families: the families.
        code: marks tokens and names.

    Returns:
        One row for each family, all with the same titles.
    """
    return [_row(family, code) for family in families]


def as_markdown(rows: list[dict[str, str]]) -> str:
    """Rows as a Markdown table.

    Args:
        rows: as `family_rows` gives them with `in_backticks`; at least one.

    Returns:
        The table, with a line break at its end.
    """
    titles = list(rows[0])
    lines = [titles, ["---"] * len(titles), *([row[t] for t in titles] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def in_backticks(token: str) -> str:
    """A token as Markdown shows it within a table, where a bar would end the cell.

    Args:
        token: the token.

    Returns:
        The token in backticks.
    """
    escaped = token.replace("|", "\\|")
    return f"`{escaped}`"


def _row(family: Family, code: Code) -> dict[str, str]:
    described: dict[str, str] = dict.fromkeys(
        ("speech streams", "markers", "text", "prompts"), UNKNOWN
    )
    specimen = family.specimen()
    if specimen is not None:
        spec = family.spec(specimen)  # first, since it may add tokens
        described = {
            "speech streams": _streams(spec, specimen.token_ids, code),
            "markers": _markers(spec, code),
            "text": "yes" if spec.has_text else "no",
            "prompts": _prompts(spec),
        }
    return {
        "family": code(family.name),
        "published models": ", ".join(map(code, family.models)),
        **described,
        "unit tokenizer": family.unit_tokenizer,
        "unit tokenizer in slm-lens": family.own_tokenizer or "none",
        "source": f"{family.title}: {family.source}",
    }


def _streams(spec: VocabSpec, token_ids: Mapping[str, int], code: Code) -> str:
    """Number, rate and deduplication of the units of every stream; equal neighbours together."""

    def facts(named: tuple[str, StreamSpec]) -> str:
        name, stream = named
        rate, dedup = stream.frame_rate_hz, stream.deduplicated
        parts = [f"{len(stream.ids(name, token_ids)):,}"]
        parts += [] if rate is None else [f"{rate:.4g} Hz"]
        parts += [] if dedup is None else ["deduplicated" if dedup else "not deduplicated"]
        return ", ".join(parts)

    groups = [(what, [n for n, _ in g]) for what, g in groupby(spec.streams.items(), key=facts)]
    return "; ".join(f"{_names(names, code)}: {what}" for what, names in groups)


def _names(names: list[str], code: Code) -> str:
    """Names of streams that are alike."""
    if len(names) == 1:
        return code(names[0])
    return f"{code(names[0])} and {code(names[1])} to {code(names[-1])}, each"


def _markers(spec: VocabSpec, code: Code) -> str:
    pairs = []
    for modality in ("speech", "text"):
        begin, end = spec.markers.get(modality), spec.markers.get(f"{modality}_end")
        if begin is not None:
            ended = "" if end is None else f" ... {code(str(end))}"
            pairs.append(f"{modality} {code(str(begin))}{ended}")
    return "; ".join(pairs) or "none"


def _prompts(spec: VocabSpec) -> str:
    """Kinds of prompt that can be written, and whether runs of one modality have markers."""
    kinds = [f"speech ({'marked' if spec.mark_speech_only else 'bare'})"]
    if spec.has_text:
        kinds += [f"text ({'marked' if spec.mark_text_only else 'bare'})", "interleaved"]
    if spec.chat:
        kinds.append(f"chat (from {' or '.join(spec.chat)})")
    return ", ".join(kinds)
