VENV ?= .venv
PY = $(VENV)/bin/python

.PHONY: demo test test-all lint docs

# Pretrain, fine-tune, segment and draw pictures on made-up data: about seven minutes on two CPU cores.
demo: $(VENV)/.installed
	$(PY) tools/demo/run_demo.py

PYTEST = $(PY) -m pytest -n auto --maxprocesses 8 --dist loadfile

test: $(VENV)/.installed
	@bash tools/install_chromium.sh
	$(PYTEST) -m "not slow"

# Those too that take two processes and long: trainings that are killed, stopped and resumed.
test-all: $(VENV)/.installed
	@bash tools/install_chromium.sh
	$(PYTEST)

lint: $(VENV)/.installed
	$(PY) -m ruff check nepa_mm tools tests docs
	$(VENV)/bin/lint-imports --no-cache

# The documentation as a site, site/index.html.
docs: $(VENV)/.installed
	$(PY) -m pip install -q -c constraints.txt -e '.[docs]'
	$(PY) -m sphinx -q -W --keep-going -c docs . site
	@echo "The front page is site/index.html"

$(VENV)/.installed: constraints.txt setup.cfg tools/setup_venv.sh
	@bash tools/setup_venv.sh $(VENV)
