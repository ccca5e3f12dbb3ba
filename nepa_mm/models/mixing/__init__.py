"""Backbones of others under NEPA's objective, and ours under the objectives of others."""
