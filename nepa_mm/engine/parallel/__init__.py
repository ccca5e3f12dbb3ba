"""What distributes a model over processes."""
