import random

import numpy as np
import torch

from nepa_mm.seeding import seed_all, seeded


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_purpose_and_key_draw_the_same_and_all_others_do_not():
    found = {}
    for key in (('step', 1, 2), ('step', 2, 1), ('step', 1, 2, 0), ('sample', 1, 2), ('step', -1, 2), ('step', 1, 2**62)):
        seed_all(*key)
        found[key] = draws()
        seed_all(*key)
        assert draws() == found[key]
    for one in zip(*found.values()):
        assert len(set(one)) == len(found)


def test_afterwards_the_generators_go_on_from_where_they_were():
    seed_all('test', 0)
    expected = draws(), draws()
    seed_all('test', 0)
    first = draws()
    try:
        with seeded('test', 1):
            within = draws()
            raise KeyError
    except KeyError:
        pass
    assert (first, draws()) == expected and within not in expected


def test_the_generator_of_a_gpu_goes_on_too(monkeypatch):
    seeds = [7]
    for name, stand_in in dict(is_initialized=lambda: True, manual_seed=seeds.append, get_rng_state=lambda: seeds[-1],
                               set_rng_state=seeds.append).items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    with seeded('test', 0):
        assert len(seeds) == 2 and seeds[-1] != 7
    assert seeds[-1] == 7


def test_the_numbers_are_what_they_were():
    # A run that began with one release goes on with another.
    seed_all('step', 1337, 5, 0)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(1621068444007655529))
    assert torch.equal(torch.rand(3), expected)
