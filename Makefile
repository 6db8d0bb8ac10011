# `make demo` and `make test` are all a newcomer needs: both set up .venv first, when it is missing or its pins changed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# uv does not read pip's own setting for folders of wheels; an empty value changes nothing.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
ARGS ?=

.PHONY: setup demo test soak check format clean
setup: $(READY)

# Compiled here and now: where PYTHONDONTWRITEBYTECODE is set, every process would compile torch anew, for four seconds.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[cpu,page,train,dev]'
	touch $(READY)

demo: setup
	$(BIN)/lookalike demo $(ARGS)

test: setup
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

soak: setup
	$(BIN)/pytest -m soak tests/soak $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist
