"""How much speech a word needs: density of units, build-up over a word, frame rates."""
