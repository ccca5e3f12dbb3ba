"""What happens beside the steps of a training: saves, signals, logs, stops."""
