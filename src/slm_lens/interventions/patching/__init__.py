"""Activation patching of pairs."""
