# GNU make and python3 (3.11 or later) are all that these need. `make demo` to try it, `make test` to check it.
PYTHON ?= python3
PORT ?= 8000
PYTHONS ?= 3.12 3.13
PY := .venv/bin/python
TEMPLATES = $(shell find templates -name '*.html')
# `$(call node,COMMAND)` runs a development tool of package-lock.json; only CI must have Node.
node = @if command -v npm >/dev/null; then $(MAKE) --no-print-directory node_modules/.package-lock.json && $(1); \
	elif [ "$$CI" = true ]; then echo "Node 20 or later is needed to check JavaScript and CSS (Debian: npm)."; exit 1; \
	else echo "SKIPPED: JavaScript and CSS are not checked: Node 20 or later is not installed."; fi

.DEFAULT_GOAL := help
.PHONY: help setup demo check test test-sqlite test-postgresql test-pythons test-js lint format bench lock messages \
	browser soak clean

help: ## what each target does
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/ready ## the virtual environment with run-time and development dependencies

.venv/ready: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed.")'
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --silent
	@touch $@

demo: setup ## a running console with a sandbox to play in; Ctrl-C ends it; PORT= (default 8000)
	@PORT=$(PORT) $(PY) -m moderation.demo

lint: setup ## ruff, layers, mypy, templates, JavaScript, CSS, migrations, deployment check
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports --no-logo --no-cache
	DEBUG=true $(PY) -m mypy
	$(PY) -m djlint --quiet --lint templates
	@.venv/bin/djade --target-version 5.2 --check $(TEMPLATES) && $(PY) -m djhtml --tabwidth 2 --check $(TEMPLATES) \
		|| { echo "The templates named above are out of form: make format puts them right."; exit 1; }
	$(call node,npx biome ci)
	DEBUG=true $(PY) manage.py makemigrations --check --dry-run
	SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(60))') DEBUG=false HTTPS=true \
		$(PY) manage.py check --deploy --fail-level WARNING

format: setup ## put code and templates into form
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	-.venv/bin/djade --target-version 5.2 $(TEMPLATES)
	$(PY) -m djhtml --tabwidth 2 $(TEMPLATES)
	$(call node,npx biome check --write)

messages: setup ## collect texts into locale/ and compile them (needs gettext)
	DEBUG=true $(PY) manage.py makemessages --locale zh_Hans --no-obsolete --no-wrap --add-location file --ignore .venv --ignore data --ignore staticfiles
	DEBUG=true $(PY) manage.py compilemessages --locale zh_Hans --ignore .venv

check: lint test-js ## lint and the quick suite: SQLite, no browser, no processes
	$(PY) tests/run.py sqlite -q -m "not browser and not slow and not soak"

test: setup browser test-js test-sqlite test-postgresql ## the whole suite, on SQLite and on PostgreSQL

test-js: ## the unit tests of the JavaScript modules
	$(call node,node --test tests/js/*.test.js)

test-sqlite: setup
	$(PY) tests/run.py sqlite

test-postgresql: setup
	$(PY) tests/run.py postgresql

test-pythons: ## the quick suite with each other supported Python that is installed (python3.12, python3.13)
	@set -e; for version in $(PYTHONS); do \
		if ! command -v python$$version >/dev/null; then echo "SKIPPED: python$$version is not installed."; continue; fi; \
		test -x .venv-$$version/bin/python || python$$version -m venv .venv-$$version; \
		.venv-$$version/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt; \
		echo "— Python $$version —"; \
		.venv-$$version/bin/python tests/run.py sqlite -q -m "not browser and not soak"; \
	done

browser: ## Chromium and a Chinese font for the browser tests, from Debian's packages where that is possible
	@tests/install_browser.sh

soak: setup ## the long fault tests on both databases, and the audit log's in full, with their figures
	$(PY) tests/run.py sqlite -n 0 -m soak -s tests
	$(PY) tests/run.py postgresql -n 0 -m soak -s tests
	$(PY) benchmarks/soak_audit.py

bench: setup ## every benchmark, ratios printed
	@set -e; for program in benchmarks/bench_*.py; do $(PY) $$program; done

lock: ## pin requirements.txt and requirements-dev.txt anew from the .in files
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	for name in requirements requirements-dev; do .venv-lock/bin/uv pip compile --quiet --universal \
		--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" $$name.in -o $$name.txt; done
	rm -r .venv-lock

clean: ## remove what the targets above made
	rm -rf .venv .venv-3.* node_modules data staticfiles test-results
