"""Lenses: from residual streams to words."""
