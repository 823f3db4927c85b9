# Every command that a person or CI runs. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo
FUNCTIONS := before-allow-traffic after-allow-traffic alarm-handler deployment-recorder watcher hook-watchdog
# Read by `make conformance`.
VENV := target/conformance-venv
PYTHON ?= python3

.PHONY: help binaries build demo test rehearse check lint sim schema conformance bench-detection bench-sweep

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# The whole workspace at once, also where one binary would do: another selection of packages has other features, and the AWS
# SDK would be compiled twice.
binaries:
	@$(CARGO) build --workspace --locked --quiet || $(CARGO) build --workspace --locked

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

schema: ## Write the JSON schema of the policy file anew
	UPDATE_SNAPSHOTS=1 $(CARGO) test --workspace --locked --quiet --lib -- the_committed_schema

conformance: binaries ## Drive `snapback stage` with boto3, answers checked against botocore's service model
	@tests/conformance/run $(VENV) $(PYTHON)

# A profile of its own and no AWS SDK in the tree: this compiles in half a minute.
bench-detection: ## Score the detector and others on simulated deployments, and write docs/detection (options: ARGS='--n 5')
	$(CARGO) run --release --locked -p snapback-detection -- $(ARGS)

bench-sweep: binaries ## Count what the sweep costs: calls per minute for 100 deployments, memory for 1,000 (10 minutes)
	@$(CARGO) build --workspace --locked --quiet --example bench-sweep
	target/debug/examples/bench-sweep --deployments 100 --minutes 3
	target/debug/examples/bench-sweep --deployments 1000 --minutes 2

check: lint test demo ## What CI runs

build: ## Package the functions for Lambda with cargo-lambda (arm64 where that target is installed)
	@command -v cargo-lambda >/dev/null || { echo "make build needs cargo-lambda: pip install cargo-lambda==1.9.2 ziglang==0.17.1"; exit 3; }
	@if rustup target list --installed | grep -q '^aarch64-unknown-linux-gnu$$'; then arch=--arm64; else \
	  echo "skipped: arm64 (target aarch64-unknown-linux-gnu is not installed: rustup target add aarch64-unknown-linux-gnu); building x86_64"; arch=--x86-64; fi; \
	for function in $(FUNCTIONS); do \
	  $(CARGO) lambda build --release --locked $$arch --output-format zip -p $$function || exit 1; \
	done

.PHONY: bench-judge
# A target folder of its own: the flag would make cargo build everything else in `target` anew.
bench-judge: ## Time and instructions of the detector: one step, and 1,000 deployments
	CARGO_TARGET_DIR=$(CURDIR)/target/bench RUSTFLAGS="--cfg criterion" $(CARGO) bench -p snapback-core --locked
	@command -v valgrind >/dev/null || { echo "skipped: instructions (valgrind is not installed)"; exit 0; }; \
	  CARGO_TARGET_DIR=$(CURDIR)/target/bench $(CARGO) build -p snapback-core --locked --release --example judge_deployments && \
	  valgrind --tool=callgrind --callgrind-out-file=/dev/null $(CURDIR)/target/bench/release/examples/judge_deployments
