"""Where states lie: similarity of speech and text, alignment, CKA, coverage of attention."""
