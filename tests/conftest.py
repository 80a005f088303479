import os
import traceback
from pathlib import Path

import pytest
import torch
from hypothesis import settings

import disvae

settings.register_profile("disvae", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("disvae")

# the suite runs in one process a core
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def is_clear():
    """Asserts that an error was raised by disvae itself, in one sentence of the common form."""
    home = Path(disvae.__file__).parent

    def check(error):
        sentence = str(error)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        assert Path(frame.filename).is_relative_to(home), f"raised in {frame.filename}"
        assert "\n" not in sentence
        assert 25 <= len(sentence) <= 400, sentence
        assert sentence.startswith("Expected"), sentence
        assert sentence.endswith("."), sentence

    return check
