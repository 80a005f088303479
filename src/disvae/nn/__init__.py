"""Networks and helpers that know nothing of variational autoencoders."""

from disvae.nn.batches import as_pair
from disvae.nn.checks import (
    as_shape,
    check_context,
    check_context_type,
    check_float,
    check_int,
    check_shape,
    check_widths,
    make_module,
    match_dtype,
)
from disvae.nn.layers import AffineHead, CholeskyFactor, ScaleParameter, full_precision, positive
from disvae.nn.networks import conv_down, conv_up, halvings, mlp
from disvae.nn.residual import ResidualBlock, residual_down, residual_up
from disvae.nn.wrappers import Unconditional

__all__ = [
    "AffineHead",
    "CholeskyFactor",
    "ResidualBlock",
    "ScaleParameter",
    "Unconditional",
    "as_pair",
    "as_shape",
    "check_context",
    "check_context_type",
    "check_float",
    "check_int",
    "check_shape",
    "check_widths",
    "conv_down",
    "conv_up",
    "full_precision",
    "halvings",
    "make_module",
    "match_dtype",
    "mlp",
    "positive",
    "residual_down",
    "residual_up",
]
