"""What a layer says, read over the two vocabularies."""
