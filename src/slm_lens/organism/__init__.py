"""The model organism: its language, its voice, its training."""
