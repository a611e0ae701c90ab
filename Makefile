# A first visit needs only make demo and make test. PYTHON=python3.12 and VENV=FOLDER choose another Python and folder.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOWEST := $(VENV)-lowest
AUDIT := $(VENV)-audit
PIP_OPTIONS := --disable-pip-version-check --no-input
DEMO := checkpoints/demo
RUNS := checkpoints/making
BUNDLED := checkpoints/bundled

.PHONY: setup demo models test test-lowest audit check fix bench docs tour

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml $(wildcard nlpseq/native/c/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_OPTIONS) -e '.[dev]'
	touch $@

# Two minutes of training on the bundled stories, the model's perplexity, and a text that continues "hello".
demo: $(INSTALLED)
	$(BIN)/nlpseq train lm stories --minutes 2 --out $(DEMO) --overwrite
	$(BIN)/nlpseq evaluate -m $(DEMO)
	$(BIN)/nlpseq generate -m $(DEMO) --seed hello --length 400

# Remakes the bundled models, and writes the scores that checkpoints/README.md has. The number of steps is fixed, so that
# one machine makes the same models each time.
models: $(INSTALLED)
	$(BIN)/nlpseq train lm stories --steps 1400 --hidden-size 320 --ngram-buckets 2816 --dropout 0.4 --average 0.99 --store int8 \
		--out $(RUNS)/stories --overwrite
	$(BIN)/nlpseq train translation english-german --steps 1500 --hidden-size 192 --vocab-size 1024 --store int8 \
		--out $(RUNS)/english-german --overwrite
	$(BIN)/nlpseq train sentiment reviews --steps 1000 --linear none --store int8 --out $(RUNS)/reviews --overwrite
	mkdir -p $(BUNDLED)
	for model in stories english-german reviews; do \
		cp $(RUNS)/$$model/model.safetensors $(BUNDLED)/$$model.safetensors || exit 1; done
	tail -n 300 corpora/english-german/pairs.tsv > $(RUNS)/last-300.tsv
	$(BIN)/nlpseq evaluate -m $(BUNDLED)/stories.safetensors
	$(BIN)/nlpseq evaluate -m $(BUNDLED)/english-german.safetensors $(RUNS)/last-300.tsv
	$(BIN)/nlpseq evaluate -m $(BUNDLED)/reviews.safetensors
	ls -l $(BUNDLED)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

# The tests with the lowest allowed version of each library, in an environment of its own. TORCH=2.13.0 takes another torch:
# PyPI's for Linux is a build for CUDA, which is several gigabytes.
test-lowest:
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) .ci/lowest.py $(TORCH:%=torch==%) > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install $(PIP_OPTIONS) -c $(LOWEST)/constraints.txt -e '.[dev]'
	$(LOWEST)/bin/python -m pip list
	$(LOWEST)/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal

# Asks PyPI for known faults of the installed versions; a library that PyPI does not answer for is a failure.
audit: $(INSTALLED)
	test -x $(AUDIT)/bin/pip-audit || $(PYTHON) -m venv $(AUDIT)
	test -x $(AUDIT)/bin/pip-audit || $(AUDIT)/bin/python -m pip install $(PIP_OPTIONS) pip-audit
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > $(AUDIT)/installed.txt
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r $(AUDIT)/installed.txt

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
	test -x $(BIN)/mkdocs || $(BIN)/python -m pip install $(PIP_OPTIONS) -e '.[docs]'
	$(BIN)/python docs/tools/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Takes about ten minutes: trains the models of the pages, and writes their output to README.md, docs/ and the picture.
tour: $(INSTALLED)
	$(BIN)/python docs/tools/tour.py
