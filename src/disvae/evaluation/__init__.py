"""What a trained model does to data: codes, bounds, likelihoods, and which latents it uses."""

from disvae.evaluation.bounds import elbo, log_likelihood
from disvae.evaluation.encoding import encode
from disvae.evaluation.feeding import Context, Data
from disvae.evaluation.summaries import ActiveUnits, Summary, active_units, summary

__all__ = [
    "ActiveUnits",
    "Context",
    "Data",
    "Summary",
    "active_units",
    "elbo",
    "encode",
    "log_likelihood",
    "summary",
]
