"""What the model reads: tokens with modality, word spans and times."""
