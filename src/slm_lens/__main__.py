"""``python -m slm_lens`` is ``slm-lens``."""

from slm_lens.cli import main

main()
