"""One file per published family of speech-text models."""
