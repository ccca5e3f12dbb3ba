"""From a command line and a config file to a checked config and a training process."""
