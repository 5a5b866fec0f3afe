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

.PHONY: help demo test bench lint build functions go-functions tools go java

help:
	@echo "make demo    the main job on an embedded broker, with a change of the function on the way"
	@echo "make test    all tests, against a real Apache Kafka that it fetches"
	@echo "make bench   CPU per record beside an ordinary native loop, and what functions cost by themselves"
	@echo "make lint    formatting and lints"

# Programs are started as they were built: cargo would select packages anew, and build them again
# with other features.
demo: build
	@$(TARGET)/debug/demo

test: build functions go-functions java
	cd sdk-go && go test ./...
	$(CARGO) test $(ALL)

bench: functions java
	$(CARGO) build --release -p tidegate -p tidegate-tests --bins
	@$(TARGET)/release/bench
	$(CARGO) bench -p tidegate -p tidegate-tests --bench functions -- $(abspath $(GUESTS)/echo.wasm $(GUESTS)/uppercase.wasm)

lint: tools go
	@unformatted=$$(gofmt -l sdk-go examples tests/functions); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	cd sdk-go && go vet ./...
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings

build: tools
	@test -e target/debug/tidegate || echo "The first build compiles wasmtime and librdkafka: 8 to 17 minutes on two cores. Cargo shows how far it is."
	$(CARGO) build $(ALL) --bins --tests

functions: tools
	$(CARGO) build --release --target wasm32-wasip2 $(FUNCTIONS)
	@# Apart: the SDK's features that it wants would be in all the others.
	$(CARGO) build --release --target wasm32-wasip2 -p http-sdk

# By this very tidegate: that is how authors build theirs.
go-functions: build go
	@for folder in $(GO_FUNCTIONS); do \
		$(TARGET)/debug/tidegate build $$folder --output $(GUESTS)/$$(basename $$folder).wasm || exit 1; done

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
