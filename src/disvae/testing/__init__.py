r"""Contracts for one's own parts: one call proves that a module keeps the rules of its role.

``check_prior``, ``check_encoder`` and ``check_decoder`` return nothing when all is well, and raise
:class:`ContractError`, an ``AssertionError`` of one sentence, at the first clause that is broken:

==============  ====================================================================================
clause          what is proved
==============  ====================================================================================
call            the part takes its inputs, leaves them as they are, and returns a distribution
shapes          batch, event, samples and ``log_prob``, over several sample shapes
state           every tensor that matters is registered, saved, loaded, copied and moved
dtypes          float64 stays float64 and gives the densities of float32
modes           the same distribution at every call, in training and in evaluation mode
batch           a row does not see the other rows of its batch
gradients       every parameter is reached; samples are reparameterised where they must be
density         finite on own samples, normalised in up to 2 dimensions, that of the sampler
moments         mean and variance are those of the samples
point           the point estimate is finite and the same at every call
extremes        extreme inputs and far points stay finite in float32 and bfloat16
compile         ``torch.compile`` traces the part as one graph from a cold start
==============  ====================================================================================

``check_objective`` does the same for one's own objectives, with clauses of its own.

A head of posteriors is an encoder of features: ``check_encoder(Head(16, 2), torch.randn(4, 16))``.
A head of likelihoods is a decoder of parameters, put behind a linear layer.

All checks run on copies with fixed seeds: the part, its mode and gradients, and the global
generators stay as they were, and a part gets the same verdict at every call. What
``torch.compile`` has cached is dropped by the last clause (``compiles=False`` leaves it out).
A part that will never run in bfloat16 is checked with ``bfloat16=False``.
"""

from disvae.testing.objective import check_objective
from disvae.testing.part import ContractError
from disvae.testing.roles import check_decoder, check_encoder, check_prior

__all__ = ["ContractError", "check_decoder", "check_encoder", "check_objective", "check_prior"]
