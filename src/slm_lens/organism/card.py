"""The figures of a model card as a table."""

import json
from pathlib import Path
from typing import Any

_ROWS = (
    ("held_out", "unit_cross_entropy_nats", "cross-entropy of a unit, held-out stories (nats)"),
    ("held_out", "next_unit_accuracy", "next unit right, held-out stories"),
    ("held_out", "text_cross_entropy_nats", "cross-entropy of a written word (nats)"),
    ("held_out", "next_word_accuracy_after_text", "next word right after a written prefix"),
    ("held_out", "next_word_accuracy_after_speech",
     "next word right, in text, after a spoken prefix"),
    ("facts", "spoken_from_text", "spoken facts, written prompt, answer in text"),
    ("facts", "spoken_from_speech", "spoken facts, spoken prompt, answer in text"),
    ("facts", "spoken_pairs_in_speech",
     "spoken facts, all in speech, right over wrong (chance 0.5)"),
    ("facts", "never_spoken_from_text", "never-spoken facts, written prompt, answer in text"),
    ("facts", "never_spoken_from_speech", "never-spoken facts, spoken prompt, answer in text"),
    ("facts", "never_spoken_pairs_in_speech",
     "never-spoken facts, all in speech, right over wrong (chance 0.5)"),
)  # fmt: skip


def card_table(folders: tuple[Path, ...]) -> str:
    """What models can do, side by side.

    Args:
        folders: exported models; each has a ``card.json``.

    Returns:
        A Markdown table with one column for each model.
    """
    cards: list[dict[str, Any]] = [
        json.loads((folder / "card.json").read_text(encoding="utf-8")) for folder in folders
    ]
    names = " | ".join(f"`{c['recipe']}`" for c in cards)
    lines = [f"| | {names} |", "|---|" + "---|" * len(cards)]
    lines.append("| parameters | " + " | ".join(f"{c['n_parameters']:,}" for c in cards) + " |")
    steps = ["+".join(str(s["n_steps"]) for s in c["stages"]) for c in cards]
    lines.append("| optimiser steps by stage | " + " | ".join(steps) + " |")
    for group, key, label in _ROWS:
        lines.append(f"| {label} | " + " | ".join(f"{c[group][key]:.2f}" for c in cards) + " |")
    return "\n".join(lines) + "\n"
