import pytest
import torch

# Models are tiny: a second thread gains nothing, and on a busy machine it waits for the first.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
