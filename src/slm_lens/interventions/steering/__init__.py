"""Vectors added to the stream."""
