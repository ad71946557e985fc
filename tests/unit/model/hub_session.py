"""A Python of its own that loads by hub ids: ``python hub_session.py requests.json answers.json``.

The hub client reads its environment when it is imported, so this cannot be done in the process of
the tests. Each request is a source with options of `load`; its answer is the name, family and
adapter in the provenance and the logits of four tokens, or the error.
"""

import json
import sys
from pathlib import Path

import torch

import slm_lens

TOKENS = torch.arange(4)[None] + 5


def answer(source, options):
    try:
        model = slm_lens.load(source, **options)
        return {
            "name": model.provenance.name,
            "family": model.provenance.family,
            "adapter": model.provenance.adapter,
            "logits": model(TOKENS).tolist(),
        }
    except (ValueError, LookupError) as error:
        return {"error": type(error).__name__, "message": str(error)}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    answers = {name: answer(*request) for name, request in asked.items()}
    Path(sys.argv[2]).write_text(json.dumps(answers))
