"""What came after NEPA: other losses in its place, each a switch of the config (docs/beyond.md)."""
