.PHONY: check format lint types imports test docs pins bench

check: lint types imports docs test  ## everything that a change must pass

format:  ## rewrite files in the project's format
	uv run ruff format .
	uv run ruff check --fix .

lint:
	uv run ruff format --check .
	uv run ruff check .
	uv run python scripts/forbidden_identifiers.py
	uv run python scripts/sizes.py
	uv run python scripts/single_use_helpers.py
	uv run python scripts/unsafe_writes.py
	uv run python -m scripts.docs_site.words
	uv run python -m scripts.check_versions

types:
	uv run mypy

imports:
	uv run lint-imports

test:
	uv run pytest -n 4

docs:  ## generated parts of README and docs are those of the code; the site, in build/docs
	uv run cog -I . --check $$(git grep -l '\[\[\[cog' -- '*.md')
	NO_MKDOCS_2_WARNING=1 uv run mkdocs build --strict --quiet

pins:  ## refresh every pin: the orchestrator's constraints, configs/environments/*.txt and their hashes
	uv run python -m scripts.pins
	uv run python -m scripts.pins_by_python

bench:  ## timings and agreement with other tools, by hand
	uv run python -m benchmarks.parity
	uv run python -m benchmarks.bad_plans
