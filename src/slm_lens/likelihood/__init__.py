"""Log-likelihoods of sequences, and accuracies of pairs from them."""
