"""From a file to what a model is fed with: steps of a pipeline, and of a batch."""
