"""What makes transcription appear: text initialisation, interleaving, training."""
