"""One step of a training, done again to see where it went wrong."""
