"""Sound that is still arriving, from a microphone or a binary stream, and what it sounds like."""
