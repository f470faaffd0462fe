# visavis: make setup | serve | test | lint | bench | docs
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: setup serve test lint bench docs audit clean

setup: $(VENV)/.default          ## .venv with the default install and your own portraits (no torch)

$(VENV)/.default: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "visavis needs Python 3.11 or 3.12; run: make setup PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[portrait]'
	@touch $@

serve: $(VENV)/.default          ## the demo, in your browser
	$(BIN)/visavis serve --open

$(VENV)/.dev: $(VENV)/.default
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	$(BIN)/python -m pip install --quiet -r tests/requirements.txt
	@touch $@

test: $(VENV)/.dev lint          ## lint, types, licences and known holes, and the whole suite
	$(BIN)/python tools/audit.py
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev              ## what this machine can measure in ten minutes, and a page to read: runs/bench/report.html
	$(BIN)/python bench/run.py all --quick --json runs/bench --html runs/bench/report.html

docs: $(VENV)/.dev               ## the docs site, into site/
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict

audit: $(VENV)/.dev              ## known holes in what users install, as of now: needs a network
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python tools/audit.py --update
	$(BIN)/pip-audit --skip-editable

clean:
	rm -rf $(VENV) build dist *.egg-info
