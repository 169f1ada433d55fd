# make run: install, without torch, and take the tour (gallery/index.html).   make studio: the same live, in a browser.
# make train: add torch, to train with.
# make test: install everything and run what must be green.
# A CPU-only torch is smaller: make train TORCH='--index-url ...', see the README; a torch that is in $(VENV) stays.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# A person's own scripts beside them are their own matter.
OURS := $(wildcard src tests benchmarks)
# What installing compiles, where there is a C compiler.
KERNEL := hatch_build.py src/triptych/decode/kernel.c
.PHONY: run studio train test soak format clean

run: $(VENV)/.installed
	$(BIN)/triptych demo

studio: $(VENV)/.installed
	$(BIN)/triptych studio

train: $(VENV)/.installed-train

# Two processes of a thread each.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed-dev
	$(BIN)/ruff format --check $(OURS)
	$(BIN)/ruff check $(OURS)
	$(BIN)/mypy src $(wildcard benchmarks)
	$(BIN)/pytest --numprocesses=2 tests

# The long trials of docs/reliability.md: each script prints its figures and fails where something did not hold.
soak: $(VENV)/.installed-dev
	set -e; for script in $(sort $(wildcard benchmarks/soak_*.py)); do echo "== $$script"; $(BIN)/python $$script; done

format: $(VENV)/.installed-dev
	$(BIN)/ruff format $(OURS)
	$(BIN)/ruff check --fix $(OURS)

# Python compiles what it imports, once; of all that is installed, most is never imported, and compiling it takes a
# quarter of the time. A stamp is newer than what it was installed from, so a second `make` installs nothing.
INSTALL = $(BIN)/python -m pip install --no-compile --quiet --constraint constraints.txt
$(VENV)/.installed: pyproject.toml constraints.txt $(KERNEL) | $(BIN)/python
	$(INSTALL) --editable '.[studio]'
	touch $@

$(VENV)/.installed-train: pyproject.toml constraints.txt $(KERNEL) | $(BIN)/python
	$(if $(TORCH),$(BIN)/python -m pip install --no-compile --quiet "$$(grep '^torch==' constraints.txt)" $(TORCH))
	$(INSTALL) --editable '.[studio,train]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(KERNEL) | $(VENV)/.installed-train
	$(INSTALL) --editable '.[dev]'
	-$(BIN)/python hatch_build.py >/dev/null # the tests run every level, an installation needs that of its processor
	touch $@ $(VENV)/.installed $(VENV)/.installed-train

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "expected Python 3.11 or newer, got " + sys.version.split()[0] + "; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf gallery out .mypy_cache .pytest_cache .ruff_cache .hypothesis
