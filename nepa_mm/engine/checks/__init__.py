"""Checks of what is built, before the first step: data sets, their labels, the model that meets them."""
