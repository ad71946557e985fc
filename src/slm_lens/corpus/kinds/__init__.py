"""Kinds of runs over a corpus: what is made of an item, and which tables it fills."""
