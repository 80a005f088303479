"""Networks and helpers that know nothing of variational autoencoders."""

from disvae.nn.batches import as_pair
from disvae.nn.checks import (
    as_shape,
    check_context,
    check_dtype,
    check_float,
    check_shape,
    positive_int,
)
from disvae.nn.layers import AffineHead, ScaleParameter, positive
from disvae.nn.networks import conv_down, conv_up, halvings, mlp
from disvae.nn.wrappers import Unconditional

__all__ = [
    "AffineHead",
    "ScaleParameter",
    "Unconditional",
    "as_pair",
    "as_shape",
    "check_context",
    "check_dtype",
    "check_float",
    "check_shape",
    "conv_down",
    "conv_up",
    "halvings",
    "mlp",
    "positive",
    "positive_int",
]
