"""From log-mel spectrograms to embeddings: eight convolutions and a maximum."""
