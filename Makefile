# What `make test` runs is what .ci/run runs. Each step says its name and the first that fails ends it.
#
# PROFILE  cargo's profile for the suites of tests/ and for the program that they drive: dev, or ci (thin LTO)
# CARGO    cargo itself
# DURATION for how long `make soak` goes on, such as 5m: 20s if nothing is said
# SECONDS  for how long `make fuzz` gives bytes to each target

PROFILE ?= dev
CARGO ?= cargo
SECONDS ?= 60
export SOAK_DURATION := $(DURATION)

# Tools and real servers that are built once are kept outside the checkout.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kube-rbac-proxy-tests
export PATH := $(PATH):$(CACHE)/tools/bin

SUITES := acceptance differential cluster corpora soak architecture
STEPS := fmt lint deny unit $(SUITES)

.PHONY: build release quickstart quickstart-oidc rbac-agree rotations drain-load sabotage fuzz docs test size $(STEPS)
# The order is that of STEPS, whatever -j says: suites measure time, and share one target directory.
.NOTPARALLEL:

build:
	$(CARGO) build -p kube-rbac-proxy -p kube-oidc-proxy

# Where cargo puts what it builds for this machine.
TARGET = $(or $(CARGO_TARGET_DIR),target)
BUILT = $(TARGET)/$(shell rustc -vV | sed -n 's/^host: //p')

release:
	$(CARGO) build --release -p kube-rbac-proxy -p kube-oidc-proxy
	@mkdir -p $(TARGET)/release && cp $(BUILT)/release/kube-rbac-proxy $(BUILT)/release/kube-oidc-proxy $(TARGET)/release/

# Shows the proxy at work on this machine alone, and leaves it running until Ctrl-C.
quickstart:
	$(CARGO) build --profile quickstart -p kube-rbac-proxy --bin kube-rbac-proxy --example quickstart-upstream
	@sh examples/quickstart/run.sh $(BUILT)/quickstart

# Shows kube-oidc-proxy between an issuer and a real API server, and leaves all of it running until Ctrl-C.
quickstart-oidc:
	$(CARGO) build --profile quickstart -p kube-oidc-proxy -p tests --bin kube-oidc-proxy --example quickstart-oidc-world
	@sh examples/quickstart-oidc/run.sh $(BUILT)/quickstart

# The evaluator of RBAC against the API server, ten times as long as in `make test`.
rbac-agree:
	RBAC_AGREE_PAIRS=100000 $(CARGO) test -p tests --test cluster the_evaluator_decides -- --nocapture

# A thousand changes of the serving certificate under load, a hundred thousand requests: fifty times those of `make test`.
rotations:
	ROTATIONS=1000 $(CARGO) test -p tests --test acceptance rotations:: -- --nocapture

# The end under load, with ten times the requests of `make test`.
drain-load:
	DRAIN_REQUESTS=100000 $(CARGO) test -p tests --profile $(PROFILE) --test acceptance a_drain_under_load_fails_no_request

# Removes guards of one line, one at a time, in a copy: each must be noticed by the test that tests/sabotage names. Half an hour.
sabotage:
	$(CARGO) test -p tests --test architecture every_sabotage_is_noticed -- --ignored --nocapture

# libFuzzer needs a nightly compiler. What it makes up is kept outside the checkout; what it finds is in fuzz/artifacts/, and
# belongs into fuzz/corpus/ when it is mended. Without a sanitizer: there is no unsafe code here for it to watch.
fuzz:
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz"; exit 1; }
	@cp Cargo.lock fuzz/Cargo.lock
	@trap '' PIPE; for target in $(notdir $(wildcard fuzz/corpus/*)); do \
		echo "== $@ $$target"; mkdir -p "$(CACHE)/fuzz/$$target"; \
		$(CARGO) +nightly fuzz run --sanitizer none $$target "$(CACHE)/fuzz/$$target" fuzz/corpus/$$target \
			-- -max_total_time=$(SECONDS) -max_len=2048 -timeout=20 || exit 1; \
	done

# Writes docs/flags.md and docs/flags-kube-oidc-proxy.md from the tables of flags.
docs:
	WRITE_DOCS=1 $(CARGO) test -p kube-rbac-proxy -p kube-oidc-proxy the_page_of_flags_is_the_table

test: $(STEPS)
	@echo "== all of: $(STEPS)"

fmt:
	@echo "== $@"
	$(CARGO) fmt --all --check

lint:
	@echo "== $@"
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Advisories need a database from elsewhere, and are a matter of their own.
deny:
	@echo "== $@"
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	$(CARGO) deny check bans licenses sources

# Without LTO, whatever PROFILE says: linking would take longer than running.
unit:
	@echo "== $@"
	$(CARGO) test --workspace --exclude tests

$(SUITES):
	@echo "== $@"
	$(CARGO) test -p tests --profile $(PROFILE) --test $@

# Lines of Rust without those of tests, for each room.
size:
	@sh tests/architecture/size
