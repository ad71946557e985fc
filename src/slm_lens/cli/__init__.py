"""The command line: parse, call, show. Heavy imports happen inside the commands."""

from slm_lens.cli.main import main

__all__ = ["main"]
