# The first that runs and is new enough; `make PYTHON=/path/to/python3` overrides.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

BIN := .venv/bin
DEV := .venv/.installed-dev
# What developers have installed holds all that the demo needs.
DEMO := $(firstword $(wildcard $(DEV)) .venv/.installed-demo)

.DEFAULT_GOAL := help
.PHONY: help demo test test-container lint format bench bench-local image image-gpu base-image push clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(DEMO) ## Train, serve and check ten models; KEEP=dir leaves everything in dir
	@$(BIN)/python examples/house_prices/demo.py $(if $(KEEP),--keep "$(KEEP)")

test: $(DEV) ## Run the tests that need no Docker; ARGS go to pytest
	@$(BIN)/pytest -m "not container" $(ARGS)

test-container: $(DEV) ## Run the tests of the built images; needs a Docker engine
	@$(BIN)/pytest -m container $(ARGS)

lint: $(DEV) ## Check style, types and the import rule
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@MYPYPATH=examples/house_prices $(BIN)/mypy examples/house_prices/demo.py
	@$(BIN)/lint-imports

format: $(DEV) ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

bench: $(DEV) ## Measure against stock multi-model-server; ARGS go to the benchmark
	@$(BIN)/python -m benchmarks $(ARGS)

bench-local: $(DEV) ## Measure what the local SageMaker adds to an invocation
	@$(BIN)/python -m benchmarks.local_platform $(ARGS)

# The classic builder does too; a base image of another name: make image BASE_IMAGE=...
IMAGE := xgboost-mme
BASE_IMAGE := debian:bookworm-slim
BUILD = docker build --network host -f container/Dockerfile --build-arg BASE_IMAGE=$(BASE_IMAGE) \
	--build-arg REVISION=$$(git rev-parse HEAD)$$(test -z "$$(git status --porcelain)" || echo -dirty) \
	--build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

image: ## Build the container image for CPUs
	@$(BUILD) --target cpu -t $(IMAGE):cpu .

image-gpu: ## Build the container image for GPUs
	@$(BUILD) --target gpu -t $(IMAGE):gpu .

base-image: ## Make the base image where no registry can be reached; as root
	@container/base-image.sh $(BASE_IMAGE)

push: $(DEV) ## Push the images to Amazon ECR; ARGS go to mme push
	@$(BIN)/mme push $(ARGS)

clean: ## Remove what these commands made, the virtual environment too
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || \
		{ rm -rf .venv; echo "no venv module: on Debian, apt install python3-venv" >&2; exit 1; }

.venv/.installed-demo: EXTRAS := train,report
$(DEV): EXTRAS := dev

.venv/.installed-%: pyproject.toml | $(BIN)/python
	@echo "Installing xgboost-mme[$(EXTRAS)] into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@
