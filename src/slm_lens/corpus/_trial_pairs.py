"""Files of a folder as pairs: which is right, which is wrong, and what both follow on.

A pair that is not whole is a pair with a problem, which becomes an error of that item.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROLES = ("mutual", "correct", "incorrect")


@dataclass(frozen=True)
class FilePair:
    """Files of one trial.

    Attributes:
        name: what it is called within its folder.
        right: the positive one; None if there is none.
        wrong: the negative one; None if there is none.
        prompt: what both follow on; None if they are whole.
        problem: why it is no trial; empty if it is one.
    """

    name: str
    right: Path | None = None
    wrong: Path | None = None
    prompt: Path | None = None
    problem: str = ""

    @property
    def files(self) -> list[Path]:
        """Those that are there."""
        return [f for f in (self.prompt, self.right, self.wrong) if f is not None]


def numbered_pairs(files: Sequence[Path], separator: str) -> list[FilePair]:
    """Pairs of a folder whose files are numbered, as slamkit's ``ModellingMetricDataset``.

    slamkit sorts by the number before the separator and takes the files two by two, right before
    wrong. Where that gives numbers ``n, n + 1`` with all ``n`` even, or all odd, it is done here.
    Anything else means that files are missing or too many, and all pairs after them would be
    shifted: if there is a number 0, even numbers are taken as right and the next ones as wrong,
    and those that have no partner are errors.

    Args:
        files: of one folder.
        separator: what follows on the number.

    Returns:
        Pairs by number, then files without a number.

    Raises:
        ValueError: files are missing, and nothing tells which belong together.
    """  # noqa: DOC502 (raised by _starts)
    by_number, strays = dict[int, list[Path]](), list[FilePair]()
    for file in files:
        number = file.name.partition(separator)[0]
        if re.fullmatch("[0-9]{1,18}", number):
            by_number.setdefault(int(number), []).append(file)
        else:
            reason = f"it does not begin with a number and {separator!r}"
            strays.append(FilePair(file.stem, right=file, problem=reason))
    starts = _starts(sorted(by_number), [p.name for p in files])
    pairs = list[FilePair]()
    for start in starts:
        right, wrong = by_number.get(start, []), by_number.get(start + 1, [])
        name = (right or wrong)[0].stem
        if len(right) == len(wrong) == 1:
            pairs.append(FilePair(name, right[0], wrong[0]))
            continue
        problem = (
            f"the number {start} (right) has the files {_names(right)}, {start + 1} (wrong) "
            f"{_names(wrong)}"
        )
        pairs.append(FilePair(name, *_first(right), *_first(wrong), problem=problem))
    return pairs + strays


def _starts(numbers: Sequence[int], names: Sequence[str]) -> list[int]:
    """Numbers of the right files, in order."""
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    whole = len(numbers) % 2 == 0 and all(b == a + 1 for a, b in pairs)
    if whole and len({a % 2 for a, _ in pairs}) <= 1:
        return [a for a, _ in pairs]
    if numbers[0] != 0:
        raise ValueError(
            f"got {len(numbers)} numbers from {numbers[0]} to {numbers[-1]}, of which some are "
            f"missing ({names[:4]} ...), expected pairs of numbers n and n + 1; from 0 on, if some "
            "are missing. Which files belong together cannot be told: copy them again."
        )
    return sorted({n - n % 2 for n in numbers})


def salmon_pairs(files: Sequence[Path]) -> list[FilePair]:
    """Pairs of a part of SALMon: ``sample_{number}_{0 or 1}``, of which 0 is right.

    Args:
        files: of one folder.

    Returns:
        Pairs by number, then files of other names.
    """
    by_number, strays = defaultdict[int, dict[str, list[Path]]](dict), list[FilePair]()
    for file in files:
        found = re.fullmatch("sample_([0-9]{1,18})_([01])", file.stem)
        if found is None:
            reason = "its name is not sample_NUMBER_0 (right) or sample_NUMBER_1 (wrong)"
            strays.append(FilePair(file.stem, right=file, problem=reason))
        else:
            by_number[int(found[1])].setdefault(found[2], []).append(file)
    pairs = list[FilePair]()
    for number in sorted(by_number):
        right, wrong = (by_number[number].get(side, []) for side in "01")
        problem = ""
        if not len(right) == len(wrong) == 1:
            problem = f"right (_0) are the files {_names(right)}, wrong (_1) {_names(wrong)}"
        pairs.append(FilePair(f"sample_{number}", *_first(right), *_first(wrong), problem=problem))
    return pairs + strays


def mutual_pairs(files: Iterable[Path], endings: Mapping[str, Sequence[str]]) -> list[FilePair]:
    """Trials of cross-modal StoryCloze: ``{name}_mutual``, ``_correct``, ``_incorrect``.

    Args:
        files: of one folder.
        endings: which endings count for each of these; files with others, or of other names, are
            not of the chosen modalities, and are passed over.

    Returns:
        Trials by name.
    """
    by_name = dict[str, dict[str, list[Path]]]()
    for file in files:
        name, _, role = file.stem.rpartition("_")
        if name and file.suffix.lower() in endings.get(role, ()):
            by_name.setdefault(name, {}).setdefault(role, []).append(file)
    trials = list[FilePair]()
    for name in sorted(by_name):
        of_role = {role: by_name[name].get(role, []) for role in _ROLES}
        problem = "".join(
            f"{name}_{role} ({' or '.join(endings[role])}) are the files {_names(found)}; "
            for role, found in of_role.items()
            if len(found) != 1
        ).rstrip("; ")
        prompt, right, wrong = (next(iter(of_role[role]), None) for role in _ROLES)
        trials.append(FilePair(name, right, wrong, prompt, problem))
    return trials


def _first(files: Sequence[Path]) -> tuple[Path | None]:
    return (files[0] if files else None,)


def _names(files: Sequence[Path]) -> list[str]:
    return [f.name for f in files[:4]]
