"""Sound in: audio files, unit tokenizers, word alignments, synthesis."""
