"""Training loops: steps of an effective batch, and their place in the data."""
