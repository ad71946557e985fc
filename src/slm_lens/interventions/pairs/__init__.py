"""A clean and a corrupted run, and which spans of them stand for each other."""
