"""Which of a checkpoint's two weights an address asks for."""

SCHEMES = ('raw:', 'ema:')


def path_of(address: str) -> str:
    """The address without ``raw:`` or ``ema:``."""
    return address[4:] if address.startswith(SCHEMES) else address
