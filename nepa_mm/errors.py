"""Errors that a user can mend. The tools print them as one line; ``exit_code`` tells scripts the kind."""


class ConfigError(ValueError):
    """A setting is wrong: names its key and value, and the choices."""
    exit_code = 2


class DataError(ValueError):
    """Data is missing or unfit: names the path and the config key that led there."""
    exit_code = 3


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used as asked."""
    exit_code = 4
