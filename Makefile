# What is done to this project, by people and by CI alike. `make` lists the targets.

ifdef CI
export CARGO_INCREMENTAL := 0
export CARGO_TERM_COLOR := never
# A snapshot that differs is a failure, never a new file.
export INSTA_UPDATE := no
endif

.DEFAULT_GOAL := help
.PHONY: help test lint generated bench load quickstart

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## run every test, on SQLite and on a PostgreSQL of its own, and the outside SCIM suites
	tests/setup
	TEST_JUDGES_REQUIRED=1 tests/with-postgres cargo test --locked
	@$(MAKE) --no-print-directory generated

lint: ## check the format, the lints, the documentation and the generated files
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	@$(MAKE) --no-print-directory generated

# Tests compare openapi/ and the snapshots with what the code produces. What this adds: nothing
# that a build or a test writes belongs in the tree. Only CI starts from a clean one.
generated: ## in CI, fail when a build or a test has changed the tree
ifdef CI
	@changed=$$(git status --porcelain) && if [ -n "$$changed" ]; then \
	  printf 'A build or a test changed the tree; commit the change or ignore the file:\n%s\n' "$$changed" >&2; \
	  git --no-pager diff --stat >&2; exit 1; fi
else
	@:
endif

bench: ## run the benchmarks
	cargo bench --locked

load: ## measure a server under load, beside floors, on SQLite: docs/performance.md
	cargo build --locked --release --bin scimd --example load
	target/release/examples/load all

quickstart: ## build scimd and start one to try, with its data in scimd-data
	cargo run --locked --release -- quickstart
