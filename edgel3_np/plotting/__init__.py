"""A picture of a recording and its embeddings. Needs matplotlib (extra `plot`)."""
