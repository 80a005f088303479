"""Finding the files of published data sets, and fetching them when a user asks for it.

Nothing is fetched unless `download=True` is passed. A file is fetched into a temporary folder
beside its place, compared with the published checksum there, and only then moved: a broken or wrong
download leaves nothing behind.
"""

import gzip
import hashlib
import importlib.util
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from disvae._extras import require

if TYPE_CHECKING:
    import requests

VARIABLE = "DISVAE_DATA"
_TIMEOUT = 30  # seconds without an answer


def data_folder(root: str | os.PathLike[str] | None) -> Path | None:
    """The folder that holds the data sets, each in a folder of its own.

    It is `root`; or where that is None, the environment variable DISVAE_DATA; or where that is
    unset, the user's cache, if pooch is there to say where it is; or else None.

    Raises:
        TypeError: `root` is no path.
    """
    if root is not None:
        if not isinstance(root, str | os.PathLike):
            raise TypeError(
                f"Expected root to be the path of a folder, but got {type(root).__name__}; pass a "
                f"string, or None for the folder that {VARIABLE} names."
            )
        return Path(root)
    if folder := os.environ.get(VARIABLE):
        return Path(folder)
    if importlib.util.find_spec("pooch") is None:
        return None
    return Path(require("pooch", "download").os_cache("disvae"))


def locate(relative: str, root: str | os.PathLike[str] | None) -> Path:
    """The path of a file of a data set, e.g. `mnist/train-labels-idx1-ubyte.gz`.

    Raises:
        FileNotFoundError: It is not there.
    """
    folder = data_folder(root)
    if folder is not None and (folder / relative).is_file():
        return folder / relative
    looked = "no folder of data sets" if folder is None else f"no such file in {folder}"
    raise FileNotFoundError(
        f"Expected to find {relative}, but got {looked}; pass root= or set {VARIABLE} to the "
        f"folder that holds {Path(relative).parent}/, or fetch the file with download=True."
    )


def fetch(
    url: str,
    relative: str,
    root: str | os.PathLike[str] | None,
    check: Callable[[Path], object],
) -> None:
    """Downloads a file to its place in the folder of data sets.

    Args:
        url: Where it is published.
        relative: Its place, as for `locate`.
        root: As for `data_folder`.
        check: Called with the path of the downloaded file, while that is still in a temporary
            folder; it raises where the content is not the published one.

    Raises:
        ImportError: pooch is not installed.
        ConnectionError: The server cannot be reached, or does not give the whole file.
    """
    pooch = require("pooch", "download")
    # A dependency of pooch.
    import requests

    folder = data_folder(root) or Path(pooch.os_cache("disvae"))
    folder.mkdir(parents=True, exist_ok=True)
    download = pooch.HTTPDownloader(
        progressbar=importlib.util.find_spec("tqdm") is not None,
        timeout=_TIMEOUT,
        # Or else a server may wrap a .gz file a second time, and the library unwrap it once.
        headers={"Accept-Encoding": "identity"},
        # pooch leaves the connection of an error page open.
        hooks={"response": _close_if_refused},
    )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        part = Path(temporary) / Path(relative).name
        try:
            download(url, str(part), None)
        except requests.RequestException as error:
            response = error.response
            reason = type(error).__name__ if response is None else f"status {response.status_code}"
            raise ConnectionError(
                f"Expected to download {url}, but got {reason}; try again later, or put the file "
                f"at {folder / relative} yourself."
            ) from error
        check(part)
        place = folder / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        part.replace(place)


def read_gzip(path: Path, md5: str, remedy: str) -> bytes:
    """The uncompressed content of a gzip file, if it is the published one.

    The checksum is that of the content, as the same content may be wrapped in different ways.

    Args:
        path: The file.
        md5: The published MD5 of the uncompressed content.
        remedy: What the user can do about a damaged file, the end of the sentence.

    Raises:
        ValueError: The file is damaged or has another content.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"Expected {path.name} to be a whole gzip file, but got a truncated or damaged one "
            f"({error}); {remedy}"
        ) from error
    _compare(hashlib.md5(content, usedforsecurity=False).hexdigest(), md5, path, remedy)
    return content


def check_md5(path: Path, md5: str, remedy: str) -> None:
    """Compares a file with its published MD5.

    Raises:
        ValueError: They differ.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    _compare(found.hexdigest(), md5, path, remedy)


def _compare(found: str, md5: str, path: Path, remedy: str) -> None:
    if found != md5:
        raise ValueError(
            f"Expected {path.name} to have the published content with MD5 {md5}, but got {found}; "
            f"{remedy}"
        )


def _close_if_refused(response: "requests.Response", **_: object) -> None:
    if not response.ok:
        response.close()
