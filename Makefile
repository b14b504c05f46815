# Everything that a fresh machine needs is installed into $(VENV); CI calls the same targets with other variables.
PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# setuptools packs whatever an earlier version has left in build/
INSTALL := rm -rf build && $(PIP) $(PIP_FLAGS)

.PHONY: help demo test browser engines fuzz portability lint package docs bench clean

help:  ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

demo: $(BIN)/python  ## Install into .venv and embed the recording that ships with the repository
	@$(INSTALL) .
	@$(BIN)/python tools/demo.py

test: $(BIN)/python  ## Install into .venv and run the tests against the installed package
	$(INSTALL) '.[test]'
	$(BIN)/pytest --doctest-modules --pyargs edgel3_np tests

browser:  ## Install the browser in which the tests try pages (Debian, as root)
	@chromium --version && chromedriver --version || \
	    { apt-get update -q && apt-get install -y --no-install-recommends chromium chromium-driver; }

engines: $(BIN)/python  ## Install Dask, Ray, Spark and MPI, and run the tests on clusters of them (Spark needs Java)
	$(INSTALL) '.[test,engines]'
	@java -version 2>/dev/null || [ -n "$$JAVA_HOME" ] || echo "there is no Java: the tests of Spark are left out"
	$(BIN)/pytest tests/collections/test_engines.py tests/collections/test_collection_faults.py

fuzz: $(BIN)/python  ## Try 20,000 broken sounds, weights and classifiers, and let atheris look for more where it can be had
	$(INSTALL) '.[test]'
	$(BIN)/python tests/fuzz.py --mutants 20000
	$(BIN)/python tests/recordings.py --count 20000
	if $(PIP) atheris; then \
	    for target in weights classifiers audio; do $(BIN)/python tools/fuzz_atheris.py $$target --seconds 60 || exit 1; done; \
	else echo "atheris cannot be installed here: that part is left out"; fi

portability:  ## Verify and test on 32 bits, big-endian, ARM and with other BLAS libraries (Debian, as root)
	@mmdebstrap --version >/dev/null && qemu-s390x-static --version >/dev/null || apt-get install -y mmdebstrap qemu-user-static
	@$(PYTHON) tools/portability.py --folder $(VENV)/portability

lint: $(BIN)/python  ## Check style
	$(PIP) '.[lint]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# pyroma does not ask for a home page and an address, which there are not; mypy runs away from the checkout, where it
# would look at the sources and not at the wheel
package: $(BIN)/python  ## Build wheel and sdist into $(VENV)/dist; check them, and the types that users see
	$(PIP) '.[package]'
	rm -rf build $(VENV)/dist
	$(BIN)/python -m build --no-isolation --outdir $(VENV)/dist . >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log; exit 1; }
	$(BIN)/twine check --strict $(VENV)/dist/*
	$(BIN)/check-wheel-contents $(VENV)/dist/*.whl
	$(BIN)/pyroma --min 10 --skip-tests AuthorEmail,Url $(VENV)/dist/*.tar.gz
	$(BIN)/python tools/check_dist.py $(VENV)/dist
	$(PIP) --force-reinstall --no-deps $(VENV)/dist/*.whl
	cd $(VENV) && bin/mypy --ignore-missing-imports -p edgel3_np && bin/mypy --strict $(CURDIR)/tests/typing_sample.py

docs: $(BIN)/python  ## Make the API reference of the docstrings, in $(VENV)/api
	$(INSTALL) '.[docs]'
	$(BIN)/python tools/make_api.py $(VENV)/api

bench: $(BIN)/python  ## Time each step from file to embedding
	@$(INSTALL) .
	@$(BIN)/python -m edgel3_np.bench

clean:  ## Remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
