import os

import pytest
import torch
from hypothesis import settings

settings.register_profile("disvae", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("disvae")

# the suite runs in one process a core
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
