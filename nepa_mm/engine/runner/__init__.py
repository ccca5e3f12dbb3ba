"""The runner, and the state from which it goes on."""
