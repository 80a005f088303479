"""Optional dependencies: imported on use, and a missing one says which extra to install."""

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """The module, imported.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name not in (package, module, None):
            raise  # it is there, but lacks something of its own
        raise ImportError(
            f"Expected the package {package}, but it is not installed; "
            f"install it with pip install 'disvae[{extra}]'."
        ) from None
