# Every target does one thing and says it here; `make help` prints the texts. Nothing is installed outside of $(CACHE), but for
# the Debian packages that a cluster of processes needs, which `make cluster` names before it installs them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pilothouse
# Named after what is in it, so that two checkouts with different locks don't share one.
VENV := $(CACHE)/venv-$(shell sha256sum requirements/dev.txt | cut -c1-12)

export PATH := $(VENV)/bin:$(CACHE)/bin:$(PATH)
export PYTHONPATH := operator:tests
# Files run side by side, those with the mark `alone` one after the other: they wait more than they compute.
export SIDE_BY_SIDE := --numprocesses=3 --dist=loadfile --no-loadscope-reorder

.PHONY: help
help: ## Print this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-14s %s\n", $$1, $$2 }'

## Development

.PHONY: venv
venv: $(VENV)/complete ## Install the pinned development tools into the cache

$(VENV)/complete:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Pilothouse needs Python 3.11 or newer; set PYTHON.")'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --require-hashes --requirement requirements/dev.txt
	touch $@

.PHONY: generate
generate: venv ## Write crds/ and docs/api.md from the API's models
	python -m pilothouse.api.crd crds
	python -m pilothouse.api.reference docs/api.md

.PHONY: lock
lock: ## Write requirements/ from pyproject.toml
	scripts/lock

.PHONY: lint
lint: venv
	ruff check
	ruff format --check
	mypy
	lint-imports

.PHONY: check
check: lint unit ## Lint, types, layers, unit and golden tests; no cluster, under a minute

.PHONY: unit
unit: venv ## Unit and golden tests
	pytest --numprocesses=auto tests/unit tests/golden

.PHONY: fetch
fetch: venv ## The fetch of models as a process, with the real hub client against a hub with faults; two minutes, no cluster
	pytest $(SIDE_BY_SIDE) tests/fetch

.PHONY: soak
soak: venv ## 1,000 models, 50 of which roll out, in virtual time: reads, memory and rollbacks; no cluster, ten minutes
	pytest --numprocesses=0 --show-capture=no tests/soak

## Tests on a real Kubernetes

.PHONY: integration
integration: venv ## Tests against a real API server, under the chart's RBAC
	pytest $(SIDE_BY_SIDE) tests/integration

.PHONY: e2e
e2e: venv ## Tests with pods, a gateway and traffic
	pytest $(SIDE_BY_SIDE) tests/e2e tests/chart

.PHONY: chaos
chaos: venv ## Kill the operator 20 times and stop the API server while models change and serve; ten minutes
	pytest tests/chaos

.PHONY: test
test: ## Everything that CI runs: builds, checks and all tests on a fresh cluster, which is then removed
	scripts/test

## The engine that stands in for vLLM, held to what vLLM does

.PHONY: contract
contract: venv ## The contract of both engines, on vllm-sim
	pytest tests/contract --engine=sim

.PHONY: vllm
vllm: venv ## Install the real vLLM with a tiny model into the cache (6 GB), once
	python -m harness.real_vllm.install

.PHONY: contract-vllm
contract-vllm: vllm ## The contract of both engines, on the real vLLM
	pytest tests/contract --engine=vllm --timeout=900

.PHONY: e2e-vllm
e2e-vllm: vllm ## A model on the real vLLM, in a pod behind the gateway
	pytest tests/e2e_vllm

## Measurements, beside those of others

.PHONY: bench-reconcile
bench-reconcile: venv ## Create 500 and 2,000 models, restart with all in place; writes benchmarks/results/reconcile.md
	python -m harness up
	python benchmarks/reconcile.py

.PHONY: bench-idle
bench-idle: venv ## Let 50 models rest for a minute; writes benchmarks/results/idle.md
	python -m harness up
	python benchmarks/idle.py

.PHONY: bench-healing
bench-healing: venv ## Delete the children of a model and take off their labels, time their return; writes benchmarks/results/healing.md
	python -m harness up
	python benchmarks/healing.py

.PHONY: bench-detection
bench-detection: venv ## Judge 56,000 simulated rollouts, beside the rules of others; writes benchmarks/results/detection.md
	python -m benchmarks.detection

.PHONY: bench-rollback
bench-rollback: venv ## Break revisions that serve, time their rollback, beside Argo Rollouts (45 min); writes benchmarks/results/rollback.md
	python -m harness up
	python benchmarks/rollback.py

.PHONY: bench-switch
bench-switch: venv ## Count what callers lose in 20 changes of weight and a rollback; writes benchmarks/results/switch.md
	python -m harness up
	python benchmarks/switch.py

.PHONY: bench-lanes
bench-lanes: venv ## Flood synthesis and time completion, with lanes and without (12 min); writes benchmarks/results/lanes.md
	python -m harness up
	python benchmarks/lanes.py

.PHONY: bench-quotas
bench-quotas: venv ## Have tenants ask for 5 times what they may (12 min); writes benchmarks/results/quotas.md
	python -m harness up
	python benchmarks/quotas.py

.PHONY: bench-guard
bench-guard: venv ## Load an engine with the guard and one without, in turn (13 min); writes benchmarks/results/guard.md
	python -m benchmarks.guard

## The cluster

.PHONY: build
build: venv ## Build Kubernetes, CoreDNS, helm and Envoy Gateway into the cache, once
	python -m harness build

.PHONY: cluster
cluster: venv ## Start a real Kubernetes with Envoy Gateway, or use the one of KUBECONFIG
	python -m harness up

.PHONY: cluster-down
cluster-down: venv ## Remove the cluster without a trace
	python -m harness down

.PHONY: images
images: venv ## Make the container images in the cache and print their archives
	python -m harness images

.PHONY: test-harness
test-harness: venv ## The cluster's own tests: they start and remove it, so none may run
	pytest tests/harness_tests

.PHONY: demo
demo: venv ## Serve a model: cluster, operator, completion, self-heal, a revision rolled back, one promoted
	scripts/demo

.PHONY: demo-down
demo-down: venv ## Remove all that `make demo` made
	scripts/demo-down
