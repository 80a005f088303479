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
    "check_context_type",
    "check_float",
    "check_int",
    "check_shape",
    "check_widths",
    "conv_down",
    "conv_up",
    "halvings",
    "make_module",
    "match_dtype",
    "mlp",
    "positive",
]
