"""From windows to log-mel spectrograms: the front ends of the originals."""
