PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: quickstart pinwheel sparsity independence latent_size kl_weight knobs single_digits manifold \
	test test-slow doctest lint typecheck docs benchmark clean

quickstart: $(STAMP)
	$(BIN)/python examples/quickstart.py

# The experiments of Mathieu et al., 2019; QUICK=--quick for a minute or two of each.
pinwheel sparsity independence: $(STAMP)
	$(BIN)/python -m examples.mathieu2019.$@ $(QUICK)

# Those of Pastrana, 2022.
latent_size kl_weight knobs single_digits manifold: $(STAMP)
	$(BIN)/python -m examples.pastrana2022.$@ $(QUICK)

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 -m "not slow" -rs

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 -m slow -rs

doctest: $(STAMP)
	$(BIN)/python -m pytest -q --doctest-modules src

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

benchmark: $(STAMP)
	$(BIN)/python benchmarks/first_light.py

# The pins in constraints.txt are for these targets; users install what they like.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) quickstart docs/_build .pytest_cache .mypy_cache .ruff_cache
