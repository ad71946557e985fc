"""SIMS: interleaved models that slamkit trained (Qwen2.5-7B, Llama-3.2-3B, and smaller bases).

Tokens: the text tokenizer's, then ``<Un0>`` ... ``<Un{n-1}>``, then ``<speech>`` and ``<text>``.
The embedding is resized to exactly that many rows, so in bases that are padded (Qwen2.5) the first
units take over rows that the text model had and never used: units 0-398 of SIMS-7B.

Prompts: bare units; ``<text>`` and words; at every switch a marker, none at the end. To be
continued, a prompt gets the marker of what is wanted, also when it is in that modality already.

Published folders come without a tokenizer: name that of the text model (Qwen2.5-7B for SIMS-7B).
Its size tells the ids, so the rows that it leaves have to be the 500 units and the markers: with
another text model's tokenizer every unit would be off by some rows, and nothing else would show it.

Source: slamkit (https://github.com/slp-rl/slamkit), ``tokeniser/interleaving_tokeniser.py``;
Maimon et al. 2025, arXiv:2504.02398.
"""

from slm_lens.errors import VocabError
from slm_lens.families._slamkit import MODEL_TYPE, SlamkitFamily, base_rows
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.slam import is_unit_only
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec

N_UNITS = 500  # of mHuBERT-25Hz, in both published models
MOST_PADDING = 127
"""Rows after the last token that padding to a multiple of 128, the largest in use, can leave."""
MARKERS = {"speech": "<speech>", "text": "<text>"}


class Sims(SlamkitFamily):
    """Interleaved models of slamkit."""

    name = "sims"
    title = "SIMS"
    models = ("slprl/SIMS-7B", "slprl/SIMS-Llama3.2-3B")
    unit_tokenizer = "mHuBERT-25Hz, layer 11, 500 k-means units, deduplicated"
    source = "Maimon et al. 2025, arXiv:2504.02398"
    own_tokenizer = "HubertKMeans"

    def specimen(self) -> CheckpointFiles:
        """SIMS-7B's units and markers.

        Returns:
            Its files.
        """
        tokens = (*(f"<Un{u}>" for u in range(N_UNITS)), *MARKERS.values())
        return specimen_files({"model_type": MODEL_TYPE}, tokens)

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None if it is slamkit's and has text, or has its units and markers.
        """
        if files.model_type == MODEL_TYPE:
            return "its vocabulary is too small for text" if is_unit_only(files) else None
        if {"<Un0>", *MARKERS.values()} <= files.token_ids.keys():
            rows, n_tokens = files.config.get("vocab_size"), len(files.token_ids)
            if rows == n_tokens:
                return None
            return (
                f"its model_type is {files.model_type!r}, and its vocab_size is {rows!r} where the "
                f"tokenizer has {n_tokens} tokens (slamkit resizes to exactly that many)"
            )
        return (
            f"its model_type is {files.model_type!r}, not {MODEL_TYPE!r}, and its tokenizer has "
            "no <Un0>, <speech> and <text>"
        )

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """The vocabulary, after units and markers were appended to a bare text tokenizer.

        Args:
            files: the checkpoint.

        Returns:
            The description.

        Raises:
            VocabError: the tokenizer is another model's.
        """  # noqa: DOC502 (raised by the parts)
        _append_units(files)
        rows = base_rows(files)
        if rows is not None:
            _refuse_left_over(files)
        return VocabSpec(
            streams={
                "units": StreamSpec(pattern="<Un{unit}>", frame_rate_hz=25, deduplicated=True)
            },
            markers=MARKERS,
            mark_text_only=True,
            repeat_marker=True,
            # A base whose padding was cut off had more rows than the model.
            base_rows=None if rows is None else min(rows, files.number("vocab_size")),
        )


def _append_units(files: CheckpointFiles) -> None:
    """Extend a bare text tokenizer as slamkit does: units first, then the markers."""
    if files.tokenizer is None:
        base = files.config.get("base_model_name")
        raise ValueError(
            f"load: {files.name} has no tokenizer.json, expected text_tokenizer=. Give the folder "
            f"of the text model that the training began with ({base or 'Qwen2.5-7B for SIMS-7B'})."
        )
    absent = [t for t in MARKERS.values() if t not in files.token_ids]
    if "<Un0>" in files.token_ids:
        if absent:
            raise VocabError(
                f"load: the tokenizer has units but no {' and no '.join(absent)}, expected the "
                "markers of the interleaved layout. Is it another model's tokenizer?"
            )
        return
    d_vocab, n_text = files.number("vocab_size", at_least=1), len(files.tokenizer)
    n_units = d_vocab - n_text - len(MARKERS)
    if n_units != N_UNITS:
        raise VocabError(
            f"load: the text tokenizer has {n_text} tokens and {files.name} has {d_vocab} rows, "
            f"which leaves {n_units} for units, expected {N_UNITS}. Give the tokenizer of the text "
            "model that the training began with; for another number of units, add them to it "
            "first, then <speech> and <text>: tokenizer.add_tokens([...])."
        )
    files.add_tokens([*(f"<Un{u}>" for u in range(n_units)), *MARKERS.values()])


def _refuse_left_over(files: CheckpointFiles) -> None:
    """Refuse a tokenizer that leaves rows over: units that were trained would count as padding."""
    d_vocab, last = files.number("vocab_size", at_least=1), max(files.token_ids.values())
    n_left = d_vocab - 1 - last
    if n_left > MOST_PADDING:
        raise VocabError(
            f"load: {files.name} has {d_vocab} rows and the tokenizer's last token is {last}, "
            f"which leaves {n_left} rows without a token, expected none, or at most {MOST_PADDING} "
            "of padding. Is it another model's tokenizer? Give that of the text model that the "
            "training began with, as text_tokenizer=."
        )
