import gzip
import hashlib
import io
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
import torch

from disvae.data import MNIST, DSprites, files
from disvae.data.dsprites import Source
from disvae.data.mnist import parse_idx

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(7, 28, 28), dtype=np.uint8)
LABELS = np.arange(7, dtype=np.uint8)


def idx(array):
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


CONTENT = {
    "t10k-images-idx3-ubyte.gz": idx(IMAGES),
    "t10k-labels-idx1-ubyte.gz": idx(LABELS),
}


class SmallMNIST(MNIST):
    """Seven images of noise, published by the server of these tests."""

    md5: ClassVar = {name: hashlib.md5(content).hexdigest() for name, content in CONTENT.items()}


@pytest.fixture
def server(monkeypatch):
    """Answers with `pages`, path to body; `cut` is how many announced bytes are never sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            site.requests.append(self.path)
            body = site.pages.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + site.cut))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.pages = {f"/{name}": gzip.compress(content) for name, content in CONTENT.items()}
    site.cut = 0
    site.requests = []
    site.url = f"http://127.0.0.1:{site.server_port}/"
    monkeypatch.setattr(SmallMNIST, "url", site.url)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


def paths(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def assert_one_sentence(caught):
    message = str(caught.value)
    assert message.startswith("Expected")
    assert "\n" not in message
    assert 25 <= len(message) <= 400


def test_a_download_is_put_in_place_and_read(server, tmp_path, caplog):
    data = SmallMNIST(tmp_path, train=False, download=True)
    assert np.array_equal(data.images.numpy(), IMAGES[:, None] / np.float32(255))
    assert data.labels.tolist() == LABELS.tolist()
    for image, label in (data[5], data.__getitems__([2, 5])[1]):
        assert torch.equal(image, data.images[5])
        assert label == 5
    assert paths(tmp_path) == ["mnist", *(f"mnist/{name}" for name in sorted(CONTENT))]
    assert not [record for record in caplog.records if record.name.startswith("pooch")]
    again = SmallMNIST(tmp_path, train=False)
    assert np.array_equal(again.images.numpy(), data.images.numpy())


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    SmallMNIST(tmp_path, train=False, download=True)
    del server.requests[:]
    SmallMNIST(tmp_path, train=False, download=True)
    assert server.requests == []


def test_nothing_is_fetched_unasked(server, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"mnist/t10k-images.* root= .*download=True"
    ) as caught:
        SmallMNIST(tmp_path, train=False)
    assert_one_sentence(caught)
    assert server.requests == []
    assert paths(tmp_path) == []


@pytest.mark.parametrize("root", [3, True, b"/data"])
def test_what_is_no_path_is_refused(root, is_clear):
    with pytest.raises(TypeError, match="root to be the path of a folder") as caught:
        MNIST(root)
    is_clear(caught.value)


IMAGE_PAGE = "/t10k-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda page: page[:-20], ValueError, "truncated or damaged"),
        (lambda page: page[: len(page) // 2], ValueError, "truncated or damaged"),
        (lambda page: b"", ValueError, "MD5"),
        (lambda page: b"<html>Sign in</html>", ValueError, "truncated or damaged"),
        (lambda page: gzip.compress(idx(IMAGES[::-1])), ValueError, "with MD5 .*, but got"),
        (lambda page: page[:40] + bytes([page[40] ^ 1]) + page[41:], ValueError, "but got"),
        (lambda page: None, ConnectionError, "status 404"),
    ],
)
def test_a_bad_download_leaves_nothing_behind(server, tmp_path, spoil, error, words):
    server.pages[IMAGE_PAGE] = spoil(server.pages[IMAGE_PAGE])
    with pytest.raises(error, match=words) as caught:
        SmallMNIST(tmp_path, train=False, download=True)
    assert_one_sentence(caught)
    assert IMAGE_PAGE[1:] in str(caught.value)
    assert paths(tmp_path) == []


def test_a_connection_cut_half_way_leaves_nothing_behind(server, tmp_path):
    server.cut = 100
    with pytest.raises(ConnectionError, match="try again later") as caught:
        SmallMNIST(tmp_path, train=False, download=True)
    assert_one_sentence(caught)
    assert paths(tmp_path) == []


def test_a_server_that_is_not_there_gets_one_sentence(server, tmp_path, monkeypatch):
    monkeypatch.setattr(SmallMNIST, "url", "http://127.0.0.1:9/")
    with pytest.raises(ConnectionError, match="ConnectionError") as caught:
        SmallMNIST(tmp_path, train=False, download=True)
    assert_one_sentence(caught)
    assert paths(tmp_path) == []


def test_a_damaged_file_is_refused_and_replaced_only_by_a_good_download(server, tmp_path):
    SmallMNIST(tmp_path, train=False, download=True)
    path = tmp_path / "mnist" / IMAGE_PAGE[1:]
    good = path.read_bytes()
    path.write_bytes(good[:-30])
    with pytest.raises(ValueError, match=r"truncated.*download=True") as caught:
        SmallMNIST(tmp_path, train=False)
    assert_one_sentence(caught)
    page = server.pages.pop(IMAGE_PAGE)
    with pytest.raises(ConnectionError):
        SmallMNIST(tmp_path, train=False, download=True)
    assert path.read_bytes() == good[:-30]
    server.pages[IMAGE_PAGE] = page
    SmallMNIST(tmp_path, train=False, download=True)
    assert path.read_bytes() == good


def test_the_environment_says_where_the_data_are(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DISVAE_DATA", str(tmp_path / "data"))
    SmallMNIST(train=False, download=True)
    assert (tmp_path / "data" / "mnist").is_dir()
    with pytest.raises(FileNotFoundError):
        SmallMNIST(tmp_path / "elsewhere", train=False)


def test_the_cache_is_used_where_nothing_says_where_the_data_are(server, tmp_path, monkeypatch):
    monkeypatch.delenv("DISVAE_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    SmallMNIST(train=False, download=True)
    assert (tmp_path / "disvae" / "mnist").is_dir()
    assert len(SmallMNIST(train=False)) == 7


def test_a_missing_pooch_names_the_extra(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'disvae\[download\]'") as caught:
        SmallMNIST(tmp_path, train=False, download=True)
    assert_one_sentence(caught)


def test_without_pooch_and_folder_a_missing_file_is_still_one_sentence(monkeypatch):
    monkeypatch.delenv("DISVAE_DATA", raising=False)
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="no folder of data sets") as caught:
        MNIST()
    assert_one_sentence(caught)


def test_images_and_labels_of_different_length_are_refused(tmp_path, monkeypatch):
    name = "t10k-labels-idx1-ubyte.gz"
    content = CONTENT | {name: idx(LABELS[:5])}
    sums = {name: hashlib.md5(body).hexdigest() for name, body in content.items()}
    monkeypatch.setattr(SmallMNIST, "md5", sums)
    (tmp_path / "mnist").mkdir()
    for name, body in content.items():
        (tmp_path / "mnist" / name).write_bytes(gzip.compress(body))
    with pytest.raises(ValueError, match="got 5 and 7"):
        SmallMNIST(tmp_path, train=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "IDX header"),
        (b"\0\0\x08", "IDX header"),
        (b"\0\0\x08\x03\0\0\0\x01", "IDX header"),
        (b"\0\0\x0d\x01\0\0\0\x01\0", "0x00000d01"),
        (b"\0\0\x08\x01\0\0\0\x02\0", "2 values for its shape .*, but got 1"),
        (b"\0\0\x08\x01\0\0\0\x02\0\0\0", "2 values for its shape .*, but got 3"),
    ],
)
def test_what_is_not_idx_is_refused(content, words):
    with pytest.raises(ValueError, match=words) as caught:
        parse_idx(content, "t10k-images-idx3-ubyte.gz")
    assert_one_sentence(caught)


def npz(latents=5, **changes):
    count = 12
    images = (RNG.random((count, 64, 64)) < 0.5).astype(np.uint8)
    classes = RNG.integers(0, 3, size=(count, latents))
    arrays = {"imgs": images, "latents_classes": classes, "latents_values": classes / 2.0}
    # The published files hold a pickle, which is never to be loaded.
    arrays |= {"metadata": np.array({"version": 1}, dtype=object)} | changes
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue(), arrays


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write(folder, content, subset="downsampled"):
    (folder / "dsprites").mkdir()
    (folder / "dsprites" / DSprites.sources[subset].name).write_bytes(content)


def test_small_dsprites_are_the_means_of_blocks(tmp_path):
    content, arrays = npz()
    write(tmp_path, content)
    for size in (64, 32, 16, 8):
        block = 64 // size
        expected = arrays["imgs"].reshape(12, 1, size, block, size, block).mean((3, 5))
        data = DSprites(tmp_path, size=size)
        assert np.array_equal(data.images.numpy(), expected.astype(np.float32))
        assert np.array_equal(data[3][0].numpy(), expected[3].astype(np.float32))


def test_the_constant_colour_of_the_whole_set_is_left_out(tmp_path):
    content, arrays = npz(latents=6)
    write(tmp_path, content, "whole")
    data = DSprites(tmp_path, subset="whole", size=32)
    assert np.array_equal(data.factors.numpy(), arrays["latents_classes"][:, 1:])
    assert np.array_equal(data.factor_values.numpy(), arrays["latents_values"][:, 1:])
    assert data.factor_names == ("shape", "scale", "orientation", "posX", "posY")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npz()[0][:-50], "truncated or damaged"),
        (npz()[0][:500], "truncated or damaged"),
        (b"not a zip file", "truncated or damaged"),
        (npy(np.zeros((12, 64, 64), np.uint8)), "truncated or damaged"),
        (npz(imgs=np.zeros((12, 32, 32), np.uint8))[0], "replace it by the published file"),
        (npz(imgs=np.zeros((11, 64, 64), np.uint8))[0], "replace it by the published file"),
        (npz(latents=4)[0], "replace it by the published file"),
    ],
)
def test_a_damaged_dsprites_file_gets_one_sentence(tmp_path, content, words):
    write(tmp_path, content)
    with pytest.raises(ValueError, match=words) as caught:
        DSprites(tmp_path)
    assert_one_sentence(caught)


def test_dsprites_are_downloaded_by_their_checksum(server, tmp_path, monkeypatch):
    content, arrays = npz()
    server.pages["/d.npz"] = content
    right = Source("d.npz", server.url + "d.npz", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(DSprites, "sources", {"small": right._replace(md5="0" * 32)})
    with pytest.raises(ValueError, match=f"MD5 0+, but got {right.md5}") as caught:
        DSprites(tmp_path, subset="small", download=True)
    assert_one_sentence(caught)
    assert paths(tmp_path) == []
    monkeypatch.setattr(DSprites, "sources", {"small": right})
    data = DSprites(tmp_path, subset="small", download=True)
    assert np.array_equal(data.factors.numpy(), arrays["latents_classes"])
    assert paths(tmp_path) == ["dsprites", "dsprites/d.npz"]
    del server.requests[:]
    DSprites(tmp_path, subset="small", download=True)
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"subset": "half"}, "'downsampled', 'random', 'whole', but got 'half'"),
        ({"size": 28}, "64, 32, 16, 8, but got 28"),
        ({"size": True}, "but got True"),
    ],
)
def test_wrong_choices_are_refused_with_the_list(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        DSprites(tmp_path, **arguments)
    assert_one_sentence(caught)
