import itertools
import os
import traceback
from pathlib import Path

import pytest
import torch
from hypothesis import settings

import disvae

settings.register_profile("disvae", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("disvae")

# the suite runs in one process a core
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    if os.environ.get("DISVAE_DATA"):
        return
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(pytest.mark.skip(reason="DISVAE_DATA is unset: no real data"))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def is_clear():
    """Asserts that an error was raised by disvae itself, in one sentence of the common form."""
    home = Path(disvae.__file__).parent

    def check(error):
        sentence = str(error)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        assert Path(frame.filename).is_relative_to(home), f"raised in {frame.filename}"
        assert "\n" not in sentence
        assert 25 <= len(sentence) <= 400, sentence
        assert sentence.startswith("Expected"), sentence
        assert sentence.endswith("."), sentence

    return check


@pytest.fixture
def words(monkeypatch):
    """What is written in a figure: pairs of a text and its place in pixels, as it is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    def find(figure):
        found = []
        draw = Text.draw

        def record(self, renderer, *args, **kwargs):
            if self.get_visible() and self.get_text().strip():
                found.append((self.get_text(), self.get_window_extent(renderer)))
            return draw(self, renderer, *args, **kwargs)

        canvas = FigureCanvasAgg(figure)
        figure.draw_without_rendering()  # the first drawing moves the panels
        monkeypatch.setattr(Text, "draw", record)
        canvas.draw()
        monkeypatch.undo()
        return found

    return find


@pytest.fixture
def is_tidy(words):
    """Asserts that words neither run into each other nor out of the figure."""

    def check(figure):
        found = words(figure)
        assert found
        for (a, box), (b, other) in itertools.combinations(found, 2):
            wide = min(box.x1, other.x1) - max(box.x0, other.x0)
            high = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert wide < 1.5 or high < 1.5, f"{a!r} and {b!r} overlap"
        for text, box in found:
            inside = box.x0 > 0 and box.y0 > 0
            inside &= box.x1 < figure.bbox.width and box.y1 < figure.bbox.height
            assert inside, f"{text!r} leaves the figure"

    return check
