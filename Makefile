# One verb a chore. `make setup` first; the others work in the environment it made.
BIN := .venv/bin
LOCK := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11

.PHONY: help setup run test stories lint lock bench docs words

help:
	@echo "setup    make .venv with everything for development"
	@echo "run      ./pgreplica up"
	@echo "test     lint, types and all tests"
	@echo "stories  the tests on real PostgreSQL only"
	@echo "lint     ruff and mypy"
	@echo "lock     compile the requirements again, with hashes"
	@echo "bench    the measurements in benchmarks/"
	@echo "docs     the tests that keep the documentation true"
	@echo "words    collect the words to translate, and compile the translations"

setup:
	./pgreplica test --collect-only -q >/dev/null

run:
	./pgreplica up

test:
	./pgreplica test

stories:
	./pgreplica test tests/stories

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy launcher clusters tasks pgreplica_admin

# The larger lists take their pins from the smaller ones, so that one environment serves running and testing.
lock:
	$(LOCK) requirements-install.in -o requirements-install.txt
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-embedded.in -c requirements.txt -o requirements-embedded.txt
	$(LOCK) requirements-dev.in -c requirements-embedded.txt -o requirements-dev.txt
	$(LOCK) --no-deps requirements-lab.in -o requirements-lab.txt

bench:
	$(BIN)/python -m benchmarks.add_standby
	$(BIN)/python -m benchmarks.log_latency

docs:
	./pgreplica test tests/unit/test_docs.py

words:
	$(BIN)/python -m tests.catalogue
