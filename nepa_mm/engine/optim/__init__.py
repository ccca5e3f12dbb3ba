"""Optimizer wrappers, decay by layer, averages."""
