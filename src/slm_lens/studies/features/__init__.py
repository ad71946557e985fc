"""Study ``features``: which features of a sparse dictionary are speech, text, or both."""
