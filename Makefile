# Every command that a person or CI runs. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo
FUNCTIONS := before-allow-traffic after-allow-traffic alarm-handler deployment-recorder watcher hook-watchdog
PYTHON ?= python3
# Of `make conformance`; empty: all.
PARTS ?=
# sam, cfn-lint and cargo-lambda, pinned, for `make infra-test`, `make build` and `make deploy`.
TOOLS := target/infra-venv

.PHONY: help binaries build deploy demo test rehearse check lint sim schema templates conformance infra-test bench-detection bench-sweep

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# What a rehearsal runs, in one build: each other selection of packages may have other features, and the AWS SDK would be compiled
# twice. tests/layers.rs holds that this one has those of `cargo test --workspace`; snapback-aws is named for that.
PLAYED := $(addprefix -p ,snapback-cli snapback-aws demo-app $(FUNCTIONS))
binaries:
	@$(CARGO) build $(PLAYED) --locked --quiet || $(CARGO) build $(PLAYED) --locked

demo: ## Play errors-in-canary: a bad deployment undoes itself (the first time compiles everything)
	@echo "Building (the first time takes some minutes) ..."
	@$(MAKE) --no-print-directory binaries
	@rm -rf target/demo
	@target/debug/snapback rehearse errors-in-canary --store target/demo/table.sqlite

test: binaries ## All tests, the rehearsals among them
	$(CARGO) test --workspace --locked

rehearse: binaries ## Play all scenarios
	@target/debug/snapback rehearse --all --quiet

lint: ## Format and lints, warnings are errors
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

sim: ## Seeded simulation; replay one failure with SEED=…, or more seeds with RUNS=…
	SIM_SEED="$(SEED)" SIM_RUNS="$(RUNS)" $(CARGO) test --workspace --locked --test simulation -- --nocapture

schema: ## Write the JSON schema of the policy file again
	UPDATE_SNAPSHOTS=1 $(CARGO) test --workspace --locked --quiet --lib -- the_committed_schema

templates: ## Write the protection templates (infra/protect) again
	UPDATE_SNAPSHOTS=1 $(CARGO) test --workspace --locked --quiet --lib -- the_committed_templates

infra-test: binaries ## Lint, build and compare the SAM templates and the CDK constructs (Python 3.11, Node 20)
	@infra/tests/run $(TOOLS) $(PYTHON)

conformance: binaries ## Second opinions of other people's tools, on loopback (PARTS="store drive cli rie alarms wiring")
	@tests/conformance/run $(PYTHON) $(PARTS)

# A profile of its own and no AWS SDK in the tree: this compiles in half a minute.
bench-detection: ## Score the detector and others on simulated deployments, and write docs/detection (options: ARGS='--n 5')
	$(CARGO) run --release --locked -p snapback-detection -- $(ARGS)

# ---- How fast (docs/performance.md) ----

# cargo-lambda builds for the processor of this machine, so that the functions can run here.
NATIVE := $(if $(filter aarch64 arm64,$(shell uname -m)),--arm64,--x86-64)
SPEED := target/speed
# The programs that measure, and the AWS around what they measure: optimised, unlike what tests and rehearsals use.
MEASURE := target/measure
BENCHED := $(FUNCTIONS)

.PHONY: benches speed-functions speed-packages speed-test bench-reaction bench-coldstart
benches:
	@$(CARGO) build --profile measure -p snapback-speed -p demo-app --locked --quiet

# As they are shipped, but they also trust the certificate authority of a benchmark.
speed-functions: benches
	@test "$$(uname -s)" = Linux || { echo "the packages are programs for Linux: measure there"; exit 3; }
	@infra/tests/tools $(TOOLS) $(PYTHON)
	@mkdir -p $(SPEED)/functions && cp -f $(MEASURE)/demo-app $(SPEED)/functions/
	@export PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH"; \
	for function in $(BENCHED); do \
	  $(CARGO) lambda build --release --locked $(NATIVE) --lambda-dir $(SPEED)/lambda -p $$function --features snapback-aws/extra-roots && \
	  cp -f $(SPEED)/lambda/$$function/bootstrap $(SPEED)/functions/$$function || exit 1; \
	done

speed-packages: benches
	@infra/tests/tools $(TOOLS) $(PYTHON)
	@export PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH"; \
	for function in $(BENCHED); do \
	  $(CARGO) lambda build --release --locked $(NATIVE) --output-format zip --lambda-dir $(SPEED)/packages -p $$function || exit 1; \
	done

# Only the hook before traffic: each function more is two more links.
speed-test: BENCHED := before-allow-traffic
ifneq ($(shell uname -s),Linux)
speed-test:
	@echo "skipped: speed-test (the packages are programs for Linux)"
else
speed-test: speed-functions speed-packages ## Hold a cold start against its limits: instructions, size, calls, connections, CPU beside boto3
	@tests/speed/tools $(SPEED) $(PYTHON) python
	@$(MEASURE)/bench-coldstart --functions $(SPEED)/functions --shipped $(SPEED)/packages --python $(SPEED)/python/bin/python \
	  --only before-allow-traffic --rounds 8 --instruction-runs 1 --latency 0 --no-throttled --no-freeze --limits tests/speed/limits.json
endif

bench-coldstart: speed-functions speed-packages ## Cold starts of all functions beside boto3 and the AWS SDK for JavaScript (20 minutes, once built)
	@tests/speed/tools $(SPEED) $(PYTHON)
	@$(MEASURE)/bench-coldstart --functions $(SPEED)/functions --shipped $(SPEED)/packages --python $(SPEED)/python/bin/python \
	  --node $(SPEED)/node --limits tests/speed/limits.json --json $(SPEED)/coldstart.json --markdown $(SPEED)/coldstart.md $(ARGS)

bench-reaction: speed-functions ## From an alarm to StopDeployment, and from the first harm to its end in three ways (16 minutes, once built)
	@$(MEASURE)/bench-reaction --functions $(SPEED)/functions --json $(SPEED)/reaction.json $(ARGS)
	@$(MEASURE)/bench-reaction --functions $(SPEED)/functions --latency 8 --polling 0 --json $(SPEED)/reaction-8ms.json $(ARGS) --harm 0

bench-sweep: speed-functions ## What the sweep costs for 1, 10, 100 and 1,000 live deployments, and how it grows (9 minutes, once built)
	@$(MEASURE)/bench-sweep --functions $(SPEED)/functions --json $(SPEED)/sweep.json $(ARGS)

check: lint test demo conformance infra-test speed-test ## What CI runs

build: ## Package the functions for Lambda with cargo-lambda (arm64 where that target is installed)
	@infra/tests/tools $(TOOLS) $(PYTHON)
	@if rustup target list --installed | grep -q '^aarch64-unknown-linux-gnu$$'; then arch=--arm64; else \
	  echo "skipped: arm64 (target aarch64-unknown-linux-gnu is not installed: rustup target add aarch64-unknown-linux-gnu); building x86_64"; arch=--x86-64; fi; \
	export PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH"; \
	for function in $(FUNCTIONS); do \
	  $(CARGO) lambda build --release --locked $$arch --output-format zip -p $$function || exit 1; \
	done

# STAGE is an environment of infra/sam/samconfig.toml: account (profile), Region and parameters.
deploy: ## Build and install into an account: make deploy STAGE=staging (options for sam: ARGS='--profile staging')
	@test -n "$(STAGE)" || { echo "which stage? make deploy STAGE=staging (its settings: infra/sam/samconfig.toml)"; exit 2; }
	@grep -q '^\[$(STAGE)\.deploy\.parameters\]' infra/sam/samconfig.toml || { echo "infra/sam/samconfig.toml has no [$(STAGE).deploy.parameters]; copy those of staging"; exit 2; }
	@infra/tests/tools $(TOOLS) $(PYTHON)
	@rustup target list --installed | grep -q '^aarch64-unknown-linux-gnu$$' || sed -n '/^\[$(STAGE)\./,/^$$/p' infra/sam/samconfig.toml | grep -q '^parameter_overrides.*Architecture=x86_64' || { echo "the functions run on arm64: rustup target add aarch64-unknown-linux-gnu, or Architecture=x86_64 among the parameters of infra/sam/samconfig.toml"; exit 3; }
	cd infra/sam && export PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" SAM_CLI_TELEMETRY=0 && \
	  sam build --beta-features --config-env $(STAGE) && sam deploy --config-env $(STAGE) $(ARGS)

.PHONY: bench-judge
# A target folder of its own: the flag would make cargo build everything else in `target` anew.
bench-judge: ## Time and instructions of the detector: one step, and 1,000 deployments
	CARGO_TARGET_DIR=$(CURDIR)/target/bench RUSTFLAGS="--cfg criterion" $(CARGO) bench -p snapback-judge --locked
	@command -v valgrind >/dev/null || { echo "skipped: instructions (valgrind is not installed)"; exit 0; }; \
	  CARGO_TARGET_DIR=$(CURDIR)/target/bench $(CARGO) build -p snapback-judge --locked --release --example judge_deployments && \
	  valgrind --tool=callgrind --callgrind-out-file=/dev/null $(CURDIR)/target/bench/release/examples/judge_deployments
