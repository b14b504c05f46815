# Everything that a fresh machine needs is installed into $(VENV); CI calls the same targets with other variables.
PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
BIN := $(VENV)/bin

.PHONY: help demo test fuzz lint bench clean

help:  ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-6s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

demo: $(BIN)/python  ## Install into .venv and embed the recording that ships with the repository
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) .
	@$(BIN)/python tools/demo.py

test: $(BIN)/python  ## Install into .venv and run the tests against the installed package
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '.[test]'
	$(BIN)/pytest --doctest-modules --pyargs edgel3_np tests

fuzz: $(BIN)/python  ## Try 20,000 broken sound and weight files, and let atheris look for more where it can be had
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '.[test]'
	$(BIN)/python tests/fuzz.py --mutants 20000
	if $(BIN)/python -m pip install --quiet --disable-pip-version-check atheris; then \
	    $(BIN)/python tools/fuzz_atheris.py weights --seconds 60 && $(BIN)/python tools/fuzz_atheris.py audio --seconds 60; \
	else echo "atheris cannot be installed here: that part is left out"; fi

lint: $(BIN)/python  ## Check style
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[lint]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(BIN)/python  ## Time each step from file to embedding
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) .
	@$(BIN)/python -m edgel3_np.bench

clean:  ## Remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
