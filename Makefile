# Needs Python 3.11 or later with venv, and make; the rest is set up in .venv. `make lock` alone needs uv too.
PYTHON ?= python3
WORKERS ?= 4
LOAD_SECONDS ?= 300
LOAD_USERS ?= 100
LOAD_SEED ?= 1
SOAK_SECONDS ?= 1200
BASE ?= python:3.13-slim
IMAGE_OPTIONS ?=
FUZZ_EXAMPLES ?= 200
CLUSTER_NODES ?= 3
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.tools
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE = otp-service:$(VERSION)
# What is released beside the service, where it is there: with hatchling, and with npm.
PYTHON_PACKAGES := . $(wildcard clients/python)
NPM_PACKAGES := $(wildcard clients/typescript)
OF_OPENAPI := tests/openapi/node_modules/.bin
LOAD_VENV := .venv-load
KUBERNETES_VENV := .venv-kubernetes
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
# Directories too: their time changes when a file in them is deleted.
SOURCES := pyproject.toml README.md LICENSE $(shell find otp_service -name __pycache__ -prune -o -print)
# Tests run on the installed wheel, so that a file that is missing there is noticed; without the safe path a
# process started in this directory would import the sources instead. Bytecode is kept whatever the environment says of
# it: one of the processes would have to compile the tests again, and each that is started what the wheel needs.
ON_WHEEL := PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE= OTP_SERVICE_TEST_WHEEL=1

.PHONY: help setup run demo pictures test test-browser test-clients check lint types contracts dist committed packages image checksums bench bench-valkey bench-delivery bench-hanging bench-factors bench-twilio bench-import bench-find bench-console bench-entered bench-pair bench-ledger test-pgbouncer load observe-check kubernetes-check storm storm-ledger ledger-failover storm-restores storm-webhooks rotate rolling handover differential overload soak abuse abuse-memory mutants fuzz phones lock docs openapi sbom clean compose-secrets failover test-cluster cluster-failover cluster-limits cluster-pace replication

help:  ## Tell what the targets do.
	@sed -n 's/^\([a-z][a-z-]*\):.*  ## /\1\t/p' Makefile | expand --tabs=18

setup: $(TOOLS) $(INSTALLED)  ## Make .venv with this project's wheel, what it needs to run, and the tools of tests.

run: $(INSTALLED)  ## Start a service to try: embedded Valkey, sandbox gateway, worker.
	@$(BIN)/otp-service dev

demo: setup  ## The same with a shop, a bank, a handset and the console, to try in a browser. ORIGIN is where its pages are.
	@PYTHONPATH=clients/python $(BIN)/python examples/browser/demo.py

# Files in the order in which tests/conftest.py puts them, not those with the most tests first.
test: lint  ## Everything that CI proves, but for a browser, the TypeScript client, and made-up requests.
	$(ON_WHEEL) $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/browser \
		--ignore tests/clients_node -m "not fuzz"

test-browser: setup  ## The hosted page, the console and the example in a real browser, for CI too. Needs Debian's chromium-headless-shell and fonts-noto-core, and npm. Five minutes.
	$(ON_WHEEL) $(BIN)/pytest --numprocesses 2 tests/browser

test-clients: setup  ## The TypeScript client: types in strict mode, its tests in Node, the package and its examples. Needs npm. Two minutes.
	npm ci --prefix clients/typescript --ignore-scripts --no-audit --no-fund --silent
	$(ON_WHEEL) $(BIN)/pytest tests/clients_node

test-pgbouncer: setup  ## The ledger through PgBouncer in transaction mode. Needs PgBouncer and PostgreSQL. Two minutes.
	OTP_SERVICE_TEST_PGBOUNCER=1 $(ON_WHEEL) $(BIN)/pytest --numprocesses 2 tests/ledger

check: lint  ## Linters, types, import contracts, rules of the house.
	$(ON_WHEEL) $(BIN)/pytest --quiet tests/architecture

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --jobs 2 --output-sync types contracts

types:
	$(BIN)/mypy
	cd clients/python && $(abspath $(BIN))/mypy
	cd benchmarks && $(abspath $(BIN))/mypy

contracts:
	PYTHONPATH=clients/python $(BIN)/lint-imports

bench: setup  ## Rates, CPU, Redis commands and growth, as ratios to floors of the same run: docs/performance/report.md. Needs wrk, 25 minutes.
	$(BIN)/python benchmarks/run.py

bench-valkey: setup  ## Instructions and bytes that starts and checks cost Valkey. Needs valgrind. Half a minute.
	$(BIN)/python benchmarks/valkey_cost.py

bench-delivery: setup  ## How fast messages arrive while a gateway is dead, and how many a worker moves. Three minutes.
	$(BIN)/python benchmarks/delivery.py

bench-hanging: setup  ## What a gateway that hangs costs messages through others. Ten minutes.
	$(BIN)/python benchmarks/hanging.py

bench-factors: setup  ## What a check of an app and a proof cost beside a check of a message. Five minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/factors.py

bench-twilio: setup  ## What a start as to Twilio Verify costs beside one through the API. A minute.
	PYTHONPATH=tests $(BIN)/python benchmarks/twilio_start.py

load: setup $(LOAD_VENV)/.locked  ## Load as callers make it, strikes in the middle; then the books must balance. Five minutes.
	$(BIN)/python benchmarks/load.py --python $(LOAD_VENV)/bin/python --seconds $(LOAD_SECONDS) --users $(LOAD_USERS) --seed $(LOAD_SEED)

observe-check: setup $(LOAD_VENV)/.locked  ## The same, watched: every panel's query and every rule must answer. Needs prometheus.
	$(BIN)/python benchmarks/load.py --python $(LOAD_VENV)/bin/python --seconds $(LOAD_SECONDS) --users $(LOAD_USERS) --seed $(LOAD_SEED) \
		--picture docs/performance/load-test.svg

kubernetes-check: $(KUBERNETES_VENV)/.locked  ## The manifests against the schemas of three versions of Kubernetes, and checkov. Needs kustomize.
	rm -rf build/kubernetes && mkdir -p build/kubernetes
	for variant in $(wildcard deploy/kubernetes/base deploy/kubernetes/overlays/*); do \
		kustomize build $$variant --output build/kubernetes/$${variant##*/}.yaml || exit; done
	@# An unknown kind is a warning alone; those of the Prometheus Operator have no schema there.
	for version in 1.35 1.36 1.37; do \
		! $(KUBERNETES_VENV)/bin/kubernetes-validate --strict --quiet -k $$version build/kubernetes/*.yaml 2>&1 \
			| grep -Ev 'kind (PrometheusRule|ServiceMonitor) with' || exit; done
	BC_SKIP_MAPPING=TRUE $(KUBERNETES_VENV)/bin/checkov --directory build/kubernetes --framework kubernetes --skip-download --compact --quiet

storm: setup  ## Verifications while workers are killed and stopped, and a gateway fails; then the books must balance.
	$(BIN)/python benchmarks/storm.py

bench-entered: setup  ## Functions of the package that a start, a delivery and a check enter. Seconds.
	PYTHONPATH=tests $(BIN)/python benchmarks/entered.py

bench-pair: setup  ## What a change costs: BEFORE=folder of another checkout takes turns with this one. Ten minutes.
	$(BIN)/python benchmarks/pair.py $(BEFORE)

bench-ledger: setup  ## How fast a recorder writes into PostgreSQL beside BEFORE=folder of another checkout, and how soon 30 days are gone. Two minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/ledger.py $(BEFORE)

bench-import: setup  ## Imports a million suppressed numbers: time, memory, and what starts notice of it. Five minutes.
	$(BIN)/python benchmarks/import_suppressions.py

bench-find: setup  ## How long support waits for a number's story, with a million verifications in the ledger. A minute. Needs PostgreSQL.
	PYTHONPATH=tests $(BIN)/python benchmarks/find_number.py

bench-console: setup  ## How long the console's pages take and what they weigh, with a month of 300,000 verifications. Three minutes. Needs PostgreSQL.
	PYTHONPATH=tests $(BIN)/python benchmarks/console.py

storm-ledger: setup  ## Recorders, database and Redis are killed under load; nothing may be lost. Needs PostgreSQL.
	PYTHONPATH=tests $(BIN)/python benchmarks/storm_ledger.py --database sqlite
	PYTHONPATH=tests $(BIN)/python benchmarks/storm_ledger.py --database postgresql

ledger-failover: setup  ## PostgreSQL's replica is killed, and takes the place of a killed primary, under load; nothing may be lost. Three minutes. Needs PostgreSQL.
	PYTHONPATH=tests $(BIN)/python benchmarks/storm_ledger.py --database replicated --kills 16 --restarts 4 --per-second 100

storm-restores: setup  ## The ledger is restored in any order and at any moment; no stop may be forgotten unnoticed. Needs PostgreSQL.
	PYTHONPATH=tests $(BIN)/python benchmarks/storm_restores.py

storm-webhooks: setup  ## Workers and database are killed while 5,000 webhooks are sent; none may be lost. Needs PostgreSQL.
	PYTHONPATH=tests $(BIN)/python benchmarks/storm_webhooks.py --database sqlite
	PYTHONPATH=tests $(BIN)/python benchmarks/storm_webhooks.py --database postgresql

failover: setup  ## Sentinels replace the primary ten times under load, one of two servers, then of three; what was answered holds. Six minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/failover.py --servers 2
	PYTHONPATH=tests $(BIN)/python benchmarks/failover.py --servers 3

test-cluster: setup  ## The store, the model and the command line against clusters of three servers (CLUSTER_NODES=1: of one). Five minutes.
	$(ON_WHEEL) $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --cluster-nodes $(CLUSTER_NODES) \
		tests/store tests/model tests/cli/test_json.py

cluster-failover: setup  ## Primaries of a cluster are killed, slots moved, a server added and removed under load; what was answered holds. Five minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/cluster_failover.py

cluster-pace: setup  ## What a start's calls of the store cost on a cluster of three, by processor time. Two minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/cluster_pace.py

cluster-limits: setup  ## Limits that buckets share hold while processes and primaries are killed; nothing below one is refused. Ten minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/cluster_limits.py

replication: setup  ## Hosts die with what replicas had not received; what was answered is known. Five minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/replication.py

rotate: setup  ## Root keys are rotated while verifications are started and checked; none may be lost. Three minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/rotate.py

rolling: setup  ## Restart all processes under load, one by one, behind HAProxy; no request may fail.
	PYTHONPATH=tests $(BIN)/python benchmarks/rolling.py

handover: setup  ## Reload and replace workers under load, each fifth call slow: no gap, no refusal, no open breaker. Five minutes.
	$(BIN)/python benchmarks/handover.py

differential: setup  ## Another checkout (BEFORE=folder) and this one do the same 100,000 steps, and must agree. Needs libfaketime, half an hour.
	PYTHONPATH=tests $(BIN)/python benchmarks/differential.py --before $(BEFORE)

overload: setup  ## More load than the service bears, behind HAProxy: all are answered in time. A minute. Needs wrk, haproxy.
	PYTHONPATH=tests $(BIN)/python benchmarks/overload.py

soak: setup  ## Half load for SOAK_SECONDS (twenty minutes): memory, keys and files must not grow.
	$(BIN)/python benchmarks/soak.py --seconds $(SOAK_SECONDS)

abuse: setup  ## Attacks beside honest days: what passes, costs, is refused. Needs libfaketime. An hour and a half with ABUSE='--honest 4000'; less with ABUSE='--site small'.
	$(BIN)/python benchmarks/abuse.py $(ABUSE)

abuse-memory: setup  ## How early patient attacks beside honest traffic are told, simulated in memory. Ten minutes.
	PYTHONPATH=. $(BIN)/python benchmarks/abuse_memory.py

mutants: setup  ## Put defects into the scripts, one at a time; the tests must notice each. Half an hour.
	$(BIN)/python benchmarks/mutants/run.py

phones: setup  ## Compare three million phone numbers, short way and libphonenumber. Five minutes.
	PYTHONPATH=tests $(BIN)/python benchmarks/phones.py

fuzz: setup  ## Make up requests for each operation of the specification, for CI too with FUZZ_EXAMPLES=5 in two minutes.
	$(ON_WHEEL) OTP_SERVICE_TEST_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/pytest -m fuzz tests/api

compose-secrets:  ## Make the keys that docker-compose.yml mounts; needs nothing but Python.
	@$(PYTHON) config/compose_secrets.py

lock:  ## Choose the newest dependencies that fit, and record their hashes.
	uv pip compile $(LOCK) --extra postgresql --extra try --output-file requirements.lock pyproject.toml
	uv pip compile $(LOCK) --output-file requirements-build.lock --group pyproject.toml:build
	uv pip compile $(LOCK) --output-file requirements-dev.lock --group pyproject.toml:dev \
		--constraints requirements.lock --constraints requirements-build.lock pyproject.toml
	uv pip compile $(LOCK) --output-file requirements-load.lock --group pyproject.toml:load \
		--constraints requirements.lock
	uv pip compile $(LOCK) --output-file requirements-kubernetes.lock --group pyproject.toml:kubernetes

LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock"

docs: setup openapi  ## Make what code and data tell: configuration, cli, data, metrics, log lines, errors, requirements, guarantees, openapi, the clients' answers.
	PYTHONPATH=. $(BIN)/python docs/make_reference.py
	PYTHONPATH=. $(BIN)/python docs/make_data.py
	PYTHONPATH=. $(BIN)/python docs/make_metrics.py
	$(BIN)/python docs/make_logs.py
	PYTHONPATH=. $(BIN)/python docs/make_errors.py
	PYTHONPATH=. $(BIN)/python docs/make_requirements.py
	$(BIN)/python docs/make_guarantees.py
	PYTHONPATH=. $(BIN)/python docs/make_clients.py

pictures: setup  ## Make the pictures of the documents, of the demo as it runs. Needs Debian's chromium-headless-shell and fonts-noto-core. A minute.
	PYTHONPATH=tests:clients/python $(BIN)/python docs/make_pictures.py

openapi: setup  ## The OpenAPI document, seen by other tools, and a Postman collection, in dist/. Needs npm. A minute.
	PYTHONPATH=. $(BIN)/python docs/make_openapi.py
	npm ci --prefix tests/openapi --ignore-scripts --no-audit --no-fund --silent
	$(OF_OPENAPI)/redocly lint --config tests/openapi/redocly.yaml dist/openapi.json
	$(OF_OPENAPI)/openapi-ts --silent --input ./dist/openapi.json --output build/openapi-ts
	$(OF_OPENAPI)/tsc --strict --noEmit --target es2022 --module nodenext build/openapi-ts/*.ts
	$(OF_OPENAPI)/openapi2postmanv2 --spec dist/openapi.json --output dist/postman_collection.json --options parametersResolution=Example > build/postman.txt

sbom: setup  ## What is installed in production, as CycloneDX JSON: dist/otp-service.cdx.json.
	@$(BIN)/python docs/make_sbom.py

dist: committed setup  ## What is released, in dist/: packages, bill of materials, documents of the API, image, checksums. Needs npm; the image an engine.
	rm -rf dist
	@for part in packages sbom openapi image checksums; do $(MAKE) --no-print-directory $$part || exit; done

committed:
	@test -z "$$(git status --porcelain)" || { echo "What is released is a commit: commit first." >&2; exit 1; }

# The same bytes for the same commit: all files have its time.
packages: setup
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) && export SOURCE_DATE_EPOCH && for package in $(PYTHON_PACKAGES); do \
		(cd $$package && $(abspath $(BIN))/hatchling build --directory $(CURDIR)/dist) || exit; done
	for package in $(NPM_PACKAGES); do (cd $$package && npm ci --ignore-scripts --no-audit --no-fund --silent && \
		npm run build && npm pack --silent --pack-destination $(CURDIR)/dist) || exit; done
	cp requirements.lock dist

image:
	@docker info >/dev/null 2>&1 || { echo "No container engine answers: there is no image." >&2; exit 0; }; \
	set -ex; docker build --build-arg BASE=$(BASE) --tag $(IMAGE) $(IMAGE_OPTIONS) \
		--label org.opencontainers.image.version=$(VERSION) \
		--label org.opencontainers.image.revision=$$(git rev-parse HEAD) .; \
	docker save --output dist/otp-service-$(VERSION)-image.tar $(IMAGE); \
	gzip -n dist/otp-service-$(VERSION)-image.tar

checksums:
	cd dist && rm -f SHA256SUMS && sha256sum * >SHA256SUMS

clean:  ## Remove what the other targets made.
	rm -rf $(VENV) $(LOAD_VENV) $(KUBERNETES_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find otp_service tests -name __pycache__ -prune -exec rm -rf {} +

# What runs the service, and builds its wheel. Once the tools are there a change of theirs starts anew too, so that
# nothing stays. Nothing is compiled before it is first imported: most of the largest packages never are.
$(LOCKED): requirements.lock requirements-build.lock $(if $(wildcard $(TOOLS)),requirements-dev.lock)
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "This needs Python 3.11 or later with venv (Debian: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) --no-compile --require-hashes -r requirements.lock -r requirements-build.lock
	@touch $@

$(INSTALLED): $(LOCKED) $(SOURCES)
	@touch $@.new  # what changes meanwhile is newer
	$(INSTALL) --no-index --no-deps --no-build-isolation --force-reinstall .
	@mv $@.new $@

# Half of what is installed, which tests import nothing or little of.
SELDOM := /(twilio/rest/(?!__init__|api/|verify/)|moto/(?!__init__|backend|core|moto_|server|settings|sns|sqs|sts|utilities)|phonenumbers/(geo|tz|carrier)data/|pip/|setuptools/)

# After the wheel, whose place in .venv two installations at once would spoil.
$(TOOLS): $(LOCKED) requirements-dev.lock $(wildcard tests/npm/package-lock.json) | $(INSTALLED)
	$(INSTALL) --no-compile --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m compileall -qq -j 0 -x '$(SELDOM)' $(VENV)/lib || true  # packages hold files that are no modules
	@! command -v npm > /dev/null || npm ci --prefix tests/npm --ignore-scripts --no-audit --no-fund --silent || true  # for programs in the documents, and Twilio's
	@touch $@

.venv-%/.locked: requirements-%.lock
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --require-hashes -r $<
	@touch $@
