"""Experiments, the logs that they leave, curves and tables."""
