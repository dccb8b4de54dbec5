# Two commands: `make demo` and `make test`. Both make .venv and install on the first run; nothing but Python and make is
# needed. Without a GPU, the CPU build of torch is a tenth of the download:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FAST := not slow and not browser and not gpu and not api
REST := (slow or browser) and not gpu and not api
export TOKENIZERS_PARALLELISM = false

.PHONY: demo test test-rest test-all results dev check clean

demo: $(STAMP)  ## score five methods on shipped organisms, publish site/index.html
	$(BIN)/narrowbench demo

test: $(STAMP)  ## everything that takes seconds; offline, CPU
	$(BIN)/pytest -q -m "$(FAST)"

test-rest: $(STAMP)  ## what `make test` leaves out: slow and browser tests
	$(BIN)/pytest -q -m "$(REST)"

test-all: test test-rest

results: $(STAMP)  ## the shipped board and docs/results-nano.md anew: every method on nano-2026.1, 30-60 minutes on 2 cores
	$(BIN)/narrowbench score -m all --suite nano-2026.1 --log-dir logs/nano-2026.1
	$(BIN)/narrowbench publish logs/nano-2026.1 --records leaderboard/results --level rerun --by "the maintainers"
	$(BIN)/narrowbench results leaderboard/results --page docs/results-nano.md
	$(BIN)/narrowbench plot leaderboard/results --out docs/figures/results

check: $(STAMP)  ## every organism file, and the gates of the shipped base
	$(BIN)/narrowbench check catalog
	$(BIN)/narrowbench check base
	$(BIN)/narrowbench check graders

dev: $(STAMP)  ## let pyright and mypy see the house as `narrowbench`
	mkdir -p .links
	ln -sfn .. .links/narrowbench

clean:  ## caches and build products; logs, records, site and the store stay
	rm -rf build dist *.egg-info .links .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	rm -f $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "narrowbench needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[dev]'
	@# It would hide the installed package's metadata from anything started in this folder with `python -m`.
	rm -rf narrowbench.egg-info
	touch $(STAMP)
