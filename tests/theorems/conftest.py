import pytest
import torch


@pytest.fixture(scope="module")
def float64():
    """Everything in float64: shipped parts take their constants in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
