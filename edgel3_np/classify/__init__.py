"""From embeddings to answers: train a classifier of sounds with labels, and detect its classes in recordings."""
