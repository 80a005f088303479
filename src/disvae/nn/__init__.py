"""Networks and helpers that know nothing of variational autoencoders."""

from disvae.nn.batches import as_pair
from disvae.nn.calls import call_part, check_vector, make_module, mismatch
from disvae.nn.checks import (
    as_constant,
    as_shape,
    check_context,
    check_context_type,
    check_finite,
    check_float,
    check_groups,
    check_int,
    check_shape,
    check_widths,
    match_dtype,
)
from disvae.nn.layers import AffineHead, CholeskyFactor, ScaleParameter, full_precision, positive
from disvae.nn.networks import conv_down, conv_up, halvings, mlp
from disvae.nn.residual import ResidualBlock, residual_down, residual_up
from disvae.nn.wrappers import Unconditional, frozen

__all__ = [
    "AffineHead",
    "CholeskyFactor",
    "ResidualBlock",
    "ScaleParameter",
    "Unconditional",
    "as_constant",
    "as_pair",
    "as_shape",
    "call_part",
    "check_context",
    "check_context_type",
    "check_finite",
    "check_float",
    "check_groups",
    "check_int",
    "check_shape",
    "check_vector",
    "check_widths",
    "conv_down",
    "conv_up",
    "frozen",
    "full_precision",
    "halvings",
    "make_module",
    "match_dtype",
    "mismatch",
    "mlp",
    "positive",
    "residual_down",
    "residual_up",
]
