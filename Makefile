# A first visit needs only make demo and make test. PYTHON=python3.12 and VENV=FOLDER choose another Python and folder.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := checkpoints/demo

.PHONY: setup demo test check fix bench docs tour

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml $(wildcard nlpseq/native/c/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-input -e '.[dev]'
	touch $@

# Two minutes of training on the bundled stories, the model's perplexity, and a text that continues "hello".
demo: $(INSTALLED)
	$(BIN)/nlpseq train lm stories --minutes 2 --out $(DEMO) --overwrite
	$(BIN)/nlpseq evaluate -m $(DEMO)
	$(BIN)/nlpseq generate -m $(DEMO) --seed hello --length 400

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

fix: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/nlpseq bench cells
	$(BIN)/nlpseq bench decode

# Writes the generated pages, then the site to .site/, and checks every link.
docs: $(INSTALLED)
	test -x $(BIN)/mkdocs || $(BIN)/python -m pip install --disable-pip-version-check --no-input -e '.[docs]'
	$(BIN)/python docs/tools/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Takes about ten minutes: trains the models of the pages, and writes their output to README.md, docs/ and the picture.
tour: $(INSTALLED)
	$(BIN)/python docs/tools/tour.py
