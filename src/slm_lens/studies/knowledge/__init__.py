"""Does transcription carry knowledge? Spoken facts, and whether their words are transcribed."""
