"""One file per alignment format, and the repairs that are the same for all of them."""
