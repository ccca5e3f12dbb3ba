"""Names of weights, and what makes those of a checkpoint fit a backbone."""
