"""Memory, work and time of a step, of ours and of peers."""
