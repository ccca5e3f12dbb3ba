"""Randomness as a function of what it is for, not of what was drawn before: so a run can go on from any step."""
import hashlib
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_all(purpose: str, *key: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators of this process, those of GPUs too where they are in use.

    Args:
        purpose: What the randomness is for; other purposes have other randomness.
        *key: Whole numbers that tell it apart: the run's seed, the step or the sample, ...
    """
    digest = hashlib.blake2b(struct.pack(f'<{len(key)}q', *key), digest_size=8, person=purpose.encode()).digest()
    seed = int.from_bytes(digest, 'little')
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if uses_gpu():
        torch.cuda.manual_seed(seed)


def uses_gpu() -> bool:
    """Whether a GPU is in use in this process; in one that was forked it cannot be."""
    return torch.cuda.is_initialized() and not torch.cuda._is_in_bad_fork()


@contextmanager
def seeded(purpose: str, *key: int) -> Iterator[None]:
    """The same for a while; then the generators go on from where they were."""
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    on_gpu = torch.cuda.get_rng_state() if uses_gpu() else None
    seed_all(purpose, *key)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu)
