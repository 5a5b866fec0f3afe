# The two commands of the README, and what they stand on. Each installs what it needs where that is
# one ordinary command, or prints that command and stops.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# One selection of packages for every step: another one would build the dependencies again.
ALL := --workspace
GUESTS := $(TARGET)/wasm32-wasip2/release
FUNCTIONS := -p echo -p filter -p fan-out -p orders -p redact -p aggregate -p route \
	-p uppercase -p files -p hostile -p raw-outcomes -p asks-http
GO_FUNCTIONS := tests/functions/gopher tests/functions/gopher-http tests/functions/gopher-files

# What the bench measures: the examples in each language, with the profile of a new project
# (runtime/src/author/toolchain/templates/rust/Cargo.toml.in). That of the workspace keeps the lines of the source.
# Languages without an SDK only if `make test` has installed their tools.
MEASURED := $(TARGET)/measured
AS_NEW := CARGO_TARGET_DIR=$(abspath $(MEASURED)/cargo) CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
	CARGO_PROFILE_RELEASE_LTO=true CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=debuginfo
PYTHON := $(abspath $(lastword $(wildcard $(TARGET)/languages/python-*/bin/componentize-py)))
JAVASCRIPT := $(abspath $(lastword $(wildcard $(TARGET)/languages/javascript-*/node_modules/.bin/componentize-js)))
EXAMPLES := $(foreach folder,$(wildcard examples/*/go),$(folder:go=rust) $(folder)) \
	$(if $(PYTHON),examples/languages/python) $(if $(JAVASCRIPT),examples/languages/javascript)
COMPONENTS := $(EXAMPLES:examples/%=$(MEASURED)/%.wasm)
MEASURE := $(CARGO) bench -p tidegate -p tidegate-tests --bench functions -- \
	$(join $(abspath $(EXAMPLES)),$(addprefix =,$(abspath $(COMPONENTS))))

.PHONY: help demo demo-s3 test simulate bench bench-functions bench-node bench-revisions lint build release functions go-functions tools go java languages

help:
	@echo "make demo               the main job on an embedded broker, with a change of the function on the way"
	@echo "make demo-s3            publish, canary and rollback on three nodes, with a server of S3 that it fetches"
	@echo "make test               all tests, against a real Apache Kafka that it fetches"
	@echo "make simulate MINUTES=10 histories of the simulated cluster until the time is over; SEED= for one that is known"
	@echo "make bench              CPU per record beside an ordinary native loop, then what bench-functions does"
	@echo "make bench-revisions    how soon nodes take on what is published, and what they withstand"
	@echo "make bench-node         latency and CPU at steady rates, idle triggers, restarts and kills of nodes"
	@echo "make bench-functions    what functions cost by themselves: the examples in each of their languages"
	@echo "make lint               formatting and lints"

# Programs are started as they were built: cargo would select packages anew, and build them again
# with other features.
demo: build
	@$(TARGET)/debug/demo

demo-s3: build functions
	@$(TARGET)/debug/demo-s3

test: build functions go-functions java languages
	cd sdk-go && go test ./...
	$(CARGO) test $(ALL)

# The same selection of packages as in release, so that nothing is built twice.
MINUTES ?= 10
simulate: tools
	TIDEGATE_MINUTES=$(MINUTES) $(if $(SEED),TIDEGATE_SEED=$(SEED)) $(CARGO) test --release -p tidegate -p tidegate-tests \
		--lib trigger::sim::tests::simulate -- --exact --nocapture

bench: go java functions release $(COMPONENTS)
	@$(TARGET)/release/bench
	@$(MEASURE)

# In parts of which each may be run by itself: see the head of tests/src/bin/bench/main.rs.
bench-node: java functions release
	@$(TARGET)/release/bench steady
	@$(TARGET)/release/bench idle
	@$(TARGET)/release/bench rolling
	@$(TARGET)/release/bench killed
	@$(TARGET)/release/bench killed 10 static

bench-revisions: java functions release
	@for part in publish "publish 20 fresh" away events canary shadow killed "uploads 200"; do \
		$(TARGET)/release/bench revisions $$part || exit 1; done

bench-functions: $(COMPONENTS)
	@$(MEASURE)

lint: tools go
	@unformatted=$$(gofmt -l sdk-go examples tests/functions); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	cd sdk-go && go vet ./...
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings

build: tools
	@test -e target/debug/tidegate || echo "The first build compiles wasmtime and librdkafka: 10 to 20 minutes on two cores. Cargo shows how far it is."
	$(CARGO) build $(ALL) --bins --tests

release: tools
	$(CARGO) build --release -p tidegate -p tidegate-tests --bins

functions: tools
	$(CARGO) build --release --target wasm32-wasip2 $(FUNCTIONS)
	@# Apart: the SDK's features that they want would be in all the others.
	$(CARGO) build --release --target wasm32-wasip2 -p http-sdk
	$(CARGO) build --release --target wasm32-wasip2 -p enrich

# By this very tidegate: that is how authors build theirs.
go-functions: build go
	@for folder in $(GO_FUNCTIONS); do \
		$(TARGET)/debug/tidegate build $$folder --output $(GUESTS)/$$(basename $$folder).wasm || exit 1; done

$(MEASURED)/%.wasm: go release
	@$(AS_NEW) $(TARGET)/release/tidegate build examples/$* --output $@ >/dev/null

$(MEASURED)/languages/python.wasm: examples/languages/python/shout.py wit/function.wit
	@mkdir -p $(@D)
	$(PYTHON) -d wit -w function componentize -p $(<D) shout -o $@

$(MEASURED)/languages/javascript.wasm: examples/languages/javascript/shout.js wit/function.wit
	@mkdir -p $(@D)
	$(JAVASCRIPT) $< --wit wit --world-name function -o $@

tools:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing. Install it from https://rustup.rs and run make again."; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is missing: apt-get install build-essential (Debian), xcode-select --install (macOS)."; exit 1; }
	@rustc --print target-libdir --target wasm32-wasip2 2>/dev/null | xargs test -d 2>/dev/null || { \
		command -v rustup >/dev/null || { echo "The Rust target wasm32-wasip2 is missing: install it, or install Rust from https://rustup.rs."; exit 1; }; \
		echo "Installing the Rust target wasm32-wasip2."; rustup target add wasm32-wasip2; }

go:
	@command -v go >/dev/null || { echo "Go is missing. Install 1.24 or later from https://go.dev/dl and run make again."; exit 1; }

java:
	@test -n "$$TIDEGATE_TEST_KAFKA" || { command -v java >/dev/null && command -v mvn >/dev/null; } || { \
		echo "The tests run a real Kafka, which needs a JDK (17 or later) and Maven:"; \
		echo "  apt-get install openjdk-17-jdk-headless maven    (Debian)"; \
		echo "  brew install openjdk maven                       (macOS)"; \
		echo "Or name a broker that is there already: TIDEGATE_TEST_KAFKA=host:port make test"; exit 1; }

languages:
	@{ python3 -c 'import ensurepip, venv' 2>/dev/null && command -v npm >/dev/null; } || { \
		echo "The tests need Python 3 with venv, and npm. They build functions in Python and JavaScript,"; \
		echo "and they start a server of S3 and SQS that is written in Python:"; \
		echo "  apt-get install python3-venv npm    (Debian)"; \
		echo "  brew install python node            (macOS)"; exit 1; }
