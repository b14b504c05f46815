"""Collections of recordings: find them, embed each into one file, and search the results."""
