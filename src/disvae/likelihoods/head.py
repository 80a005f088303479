"""What all heads share: checked parameters in full precision, and one joint distribution."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from disvae.nn import ScaleParameter, as_shape, check_shape, full_precision, positive


class Head(nn.Module):
    """A module from a decoder's output to the distribution of the data.

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        parameters: How many parameters of each value the decoder gives. They lie one after the
            other along the first axis of the datum.
    """

    def __init__(self, data_shape: int | Sequence[int], parameters: int = 1) -> None:
        super().__init__()
        self.data_shape = as_shape(data_shape)
        self.channels = parameters * self.data_shape[0]

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """The parameters one by one, each ``(..., *data_shape)``, in float32 at least."""
        check_shape(
            parameters,
            (self.channels, *self.data_shape[1:]),
            "parameters",
            lead="..., B",
            mend="let the decoder's network give head.channels channels",
        )
        parameters = full_precision(parameters)
        if self.channels == self.data_shape[0]:
            return (parameters,)
        return parameters.split(self.data_shape[0], dim=-len(self.data_shape))

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{self.data_shape}, channels={self.channels}"

    def joint(self, base: Distribution) -> Independent:
        """The values of ``base``, which has the shape of the data, as one event."""
        return Independent(base, len(self.data_shape), validate_args=False)


def positive_parameter(
    value: float | Tensor | None, name: str, shape: Sequence[int], *, learn: bool
) -> ScaleParameter | None:
    """A positive parameter that is fixed or learnt, or None where the decoder predicts it.

    Raises:
        TypeError: If it is neither a number nor a tensor.
        ValueError: If a value is not positive and finite, or is to be both learnt and predicted.
    """
    if value is None:
        if learn:
            raise ValueError(
                f"Expected one way to obtain the {name}, but got {name}=None with "
                f"learn_{name}=True; leave learn_{name} out to predict it, or give its first "
                f"value to learn it."
            )
        return None
    return ScaleParameter(value, shape, learn=learn, name=name)


def given_or_predicted(
    parameter: ScaleParameter | None, predicted: Sequence[Tensor], like: Tensor
) -> Tensor:
    """The positive parameter for every value: the head's own, or made from the decoder's output."""
    if parameter is None:
        return positive(predicted[0])
    return parameter().to(like.dtype).expand_as(like)
