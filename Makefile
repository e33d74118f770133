# Wasakari. `make help` lists the targets; CI runs `make check test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export CGO_ENABLED ?= 0
GO      := go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN     := bin
TASKS   := $(BIN)/tasks
MODULES := . sdk/go tasks-examples
GUEST   := GOTOOLCHAIN=go1.26.8 GOOS=wasip1 GOARCH=wasm GOFLAGS= $(GO) build -buildmode=c-shared -trimpath -buildvcs=false -ldflags='-s -w -buildid='
LINT    := .bin/golangci-lint
PEERS   := $(BIN)/bench
CLANG   ?= clang
PYTHON  ?= python3
RUSTC   ?= $(firstword $(wildcard /usr/bin/rustc) rustc)

OUTPUT  ?= text
COUNT   ?= 6
FUZZTIME ?= 10s
JSON    ?=
SERVERS ?= 20,100

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: build
build: $(BIN)/wasakari examples ## the program (bin/wasakari) and the example tasks (bin/tasks)

# Go's own build cache knows what is fresh.
.PHONY: $(BIN)/wasakari
$(BIN)/wasakari:
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags='-X main.version=$(VERSION)' -o $@ ./cmd/wasakari

# example FOLDER KEY: builds the Go task in tasks-examples/FOLDER as bin/tasks/KEY.wasm.
define example
	@mkdir -p $(TASKS)
	cd tasks-examples && $(GUEST) -o $(CURDIR)/$(BIN)/$(2).raw.wasm ./$(1)
	$(BIN)/wasakari task pack tasks-examples/$(1)/task.yaml $(BIN)/$(2).raw.wasm -o $(TASKS)/$(2).wasm
	@rm $(BIN)/$(2).raw.wasm
endef

.PHONY: examples
examples: $(BIN)/wasakari
	$(call example,guide-library/go,custom_pre_task)
	$(call example,no_op/go,my_noop_task)
	$(call example,redfish_fence/go,redfish_fence_task)

.PHONY: standard
standard: $(BIN)/wasakari ## rebuild the standard tasks that are embedded in the program
	cd tasks-examples && $(GUEST) -o $(CURDIR)/$(BIN)/standard.raw.wasm ./standard
	$(BIN)/wasakari task pack tasks-examples/standard/task.yaml $(BIN)/standard.raw.wasm -o internal/standardtasks/standard.wasm
	@rm $(BIN)/standard.raw.wasm

# The engines of script tasks, which are committed: only who changes their sources builds them. Needs what the scripts say.
.PHONY: engines engine-python
engines: engine-python ## rebuild the engines of script tasks from Debian's sources (minutes)

engine-python:
	@mkdir -p $(BIN)/engine-python
	sdk/python/engine/build.sh $(BIN)/engine-python $(BIN)/python.wasm
	$(GO) run ./internal/engines/pack python $(BIN)/python.wasm

.PHONY: demo
demo: ## run the host recovery of Masakari's guide on a simulated cloud (OUTPUT=json: print its document)
	@$(MAKE) build >&2
	@$(BIN)/wasakari run host-auto --config-file tasks-examples/guide-library/custom-recovery-methods.conf \
		--task-dir $(TASKS) --simulate --input host_name=compute-1 --output $(OUTPUT)

.PHONY: test
test: build ## every test, with the race detector, in random order
	for m in $(MODULES); do (cd $$m && CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 20m ./...); done

.PHONY: conformance
conformance: ## run the guests of all languages, rewrite the table of sdk/conformance/README.md
	$(GO) test -count=1 -run '^TestGuests$$' ./sdk/conformance -write

# Byte-stable with the same clang.
# -Oz for the compiler alone: clang itself would run wasm-opt where there is one, and the bytes would be the machine's.
C_GUEST := --target=wasm32 -ffreestanding -Xclang -Oz -nostdlib -Wall -Wextra -Werror -Wl,--no-entry,--stack-first,-z,stack-size=262144

.PHONY: conformance-c
conformance-c: # Debian: clang lld
	cd sdk/conformance/c && $(CLANG) $(C_GUEST) -o guest.wasm guest.c

.PHONY: engine-javascript
engines: engine-javascript
engine-javascript: # Debian: clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc dpkg-dev
	@mkdir -p $(BIN)/engine-javascript
	sdk/javascript/engine/build.sh $(BIN)/engine-javascript $(BIN)/engine-javascript/javascript.wasm
	$(GO) run ./internal/engines/pack javascript $(BIN)/engine-javascript/javascript.wasm

# The checker of types, in the version of its list, for nothing but this.
TSC := .bin/typescript
$(TSC)/.made: sdk/javascript/test/types/package.json
	rm -rf $(TSC)
	@mkdir -p $(TSC)
	cp $< $(TSC)
	npm install --prefix $(TSC) --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: sdk-javascript
sdk-javascript: $(TSC)/.made ## tests of the JavaScript SDK on Node.js, and of its types (needs node 20, npm)
	node --test sdk/javascript/test/
	$(TSC)/node_modules/.bin/tsc -p sdk/javascript/test/types

# Once with every compiler and sanitizer that is asked of the header, once as each kind of guest.
SAN := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
C_WARN := -Wall -Wextra -Werror

.PHONY: sdk-c
sdk-c: ## tests of the C SDK (Debian: clang lld wasi-libc libclang-rt-14-dev libclang-rt-14-dev-wasm32 gcc g++ libc6-dev)
	@for tool in $(CLANG) wasm-ld gcc g++; do \
		command -v $$tool >/dev/null || { echo "$$tool is missing: apt install clang lld wasi-libc libclang-rt-14-dev libclang-rt-14-dev-wasm32 gcc g++ libc6-dev" >&2; exit 1; }; done
	@mkdir -p $(BIN)/sdk-c
	for cc in $(CLANG) gcc; do \
		$$cc -std=c11 $(C_WARN) $(SAN) -o $(BIN)/sdk-c/test sdk/c/test/test.c -lm && $(BIN)/sdk-c/test; done
	g++ -std=c++11 $(C_WARN) -x c++ -fsyntax-only sdk/c/wasakari.h
	$(CLANG) -std=c11 $(C_WARN) -Wno-unused-function -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $(BIN)/sdk-c/fuzz sdk/c/test/fuzz.c
	@mkdir -p $(BIN)/sdk-c/corpus
	$(BIN)/sdk-c/fuzz -rss_limit_mb=2048 -max_total_time=$(FUZZTIME:s=) -print_final_stats=0 -verbosity=0 $(BIN)/sdk-c/corpus sdk/c/test/corpus
	for e in ticket cooldown staged_start; do \
		$(CLANG) --target=wasm32-wasi --sysroot=/usr -mexec-model=reactor -Oz $(C_WARN) -o $(BIN)/sdk-c/$$e.wasi.wasm tasks-examples/$$e/c/main.c && \
		$(CLANG) --target=wasm32 -ffreestanding -Oz -nostdlib $(C_WARN) -Wl,--no-entry -x c++ -std=c++11 -o $(BIN)/sdk-c/$$e.cc.wasm tasks-examples/$$e/c/main.c || exit 1; done

# Without what site-packages may hold, and without leaving compiled files.
.PHONY: sdk-python
sdk-python: ## tests of the Python SDK, of what is frozen into its engine, without wasm (Debian: python3, which is 3.11 as the engine is)
	$(PYTHON) -S -E -B -W error -m unittest discover -q -s sdk/python/test

AS := sdk/assemblyscript/node_modules/.package-lock.json
$(AS): sdk/assemblyscript/package-lock.json
	@for tool in node npm; do command -v $$tool >/dev/null || { echo "$$tool is missing: Node.js 20 or later, with npm" >&2; exit 1; }; done
	cd sdk/assemblyscript && npm ci --no-audit --no-fund
	@touch $@

# Byte-stable with the compiler of package-lock.json.
.PHONY: conformance-assemblyscript
conformance-assemblyscript: $(AS) # Node.js 20 or later, npm
	cd sdk/conformance/assemblyscript && node ../../assemblyscript/node_modules/assemblyscript/bin/asc.js --config asconfig.json

.PHONY: sdk-assemblyscript
sdk-assemblyscript: $(AS) ## tests of the AssemblyScript SDK (Node.js 20 or later, npm)
	node sdk/assemblyscript/test/run.mjs

# A target conformance-LANG for each language whose guest is committed.
.PHONY: conformance-rebuild
conformance-rebuild: conformance-assemblyscript
conformance-rebuild: conformance-c
conformance-rebuild: conformance-rust
conformance-rebuild: ## build those guests with the tool chains of their languages, compare their bytes, run them
	git diff --exit-code --stat -- sdk/conformance
	$(GO) test -count=1 -run '^TestGuests$$' ./sdk/conformance

# Debian: rustc libstd-rust-dev-wasm32 lld. Its rustc makes the bytes that are committed.
RUST  := $(RUSTC) --edition 2021 --remap-path-prefix=$(CURDIR)=.
CRATE := $(BIN)/rust
# rust-guest NAME SOURCE OUT: builds a module as README.md of sdk/rust says, without cargo.
RUST_GUEST := --target wasm32-unknown-unknown -C opt-level=s -C lto=fat -C panic=abort -C codegen-units=1 -C strip=symbols
define rust-guest
	$(RUST) $(RUST_GUEST) --crate-type cdylib --crate-name $(1) --extern wasakari=$(CRATE)/guest/libwasakari.rlib -o $(3) $(2)
endef

.PHONY: rust-crate
rust-crate:
	@mkdir -p $(CRATE)/guest
	$(RUST) $(RUST_GUEST) --crate-type rlib --crate-name wasakari --out-dir $(CRATE)/guest sdk/rust/src/lib.rs

.PHONY: conformance-rust
conformance-rust: rust-crate
	$(call rust-guest,guest,sdk/conformance/rust/guest.rs,sdk/conformance/rust/guest.wasm)

# rust-example NAME
define rust-example
	$(call rust-guest,$(1),tasks-examples/$(1)/rust/src/lib.rs,$(CRATE)/$(1).wasm)
	$(BIN)/wasakari task pack tasks-examples/$(1)/rust/task.yaml $(CRATE)/$(1).wasm -o tasks-examples/$(1)/rust/$(1).wasm
endef

.PHONY: examples-rust
examples-rust: rust-crate $(BIN)/wasakari
	$(call rust-example,ticket)
	$(call rust-example,cooldown)
	$(call rust-example,staged_start)

# example-in LANG NAME: packs what $(BIN)/example.raw.wasm holds.
example-in = $(BIN)/wasakari task pack tasks-examples/$(2)/$(1)/task.yaml $(BIN)/example.raw.wasm -o tasks-examples/$(2)/$(1)/$(2).wasm && rm $(BIN)/example.raw.wasm

define c-example
	cd tasks-examples/$(1)/c && $(CLANG) $(C_GUEST) -o $(CURDIR)/$(BIN)/example.raw.wasm main.c
	$(call example-in,c,$(1))
endef

.PHONY: examples-c
examples-c: $(BIN)/wasakari # Debian: clang lld
	$(call c-example,ticket)
	$(call c-example,cooldown)
	$(call c-example,staged_start)

define as-example
	cd tasks-examples/$(1)/assemblyscript && node ../../../sdk/assemblyscript/node_modules/assemblyscript/bin/asc.js assembly/index.ts --target release --outFile $(CURDIR)/$(BIN)/example.raw.wasm
	$(call example-in,assemblyscript,$(1))
endef

.PHONY: examples-assemblyscript
examples-assemblyscript: $(AS) $(BIN)/wasakari # Node.js 20 or later, npm
	$(call as-example,ticket)
	$(call as-example,cooldown)
	$(call as-example,staged_start)

# A target examples-LANG for each language whose worked examples are committed.
examples-rebuild: examples-assemblyscript
examples-rebuild: examples-c
examples-rebuild: examples-rust
.PHONY: examples-rebuild
examples-rebuild: ## build the worked examples with the tool chains of their languages, compare their bytes, run them
	git diff --exit-code --stat -- tasks-examples
	$(GO) test -count=1 -run '^TestExamples$$' ./sdk/conformance

.PHONY: sdk-rust
sdk-rust: ## tests of the Rust SDK and its examples (SERDE=1: of feature serde too, with cargo and its crates)
	@mkdir -p $(CRATE)
	$(RUST) --crate-type rlib --crate-name wasakari --out-dir $(CRATE) sdk/rust/src/lib.rs
	for t in sdk/rust/tests/tasks.rs sdk/rust/tests/json.rs; do \
		$(RUST) --test --extern wasakari=$(CRATE)/libwasakari.rlib -o $(CRATE)/test $$t && $(CRATE)/test -q || exit 1; done
	for e in ticket cooldown staged_start; do \
		$(RUST) --test --extern wasakari=$(CRATE)/libwasakari.rlib -o $(CRATE)/test tasks-examples/$$e/rust/src/lib.rs && $(CRATE)/test -q || exit 1; done
	$(RUSTC:%rustc=%rustdoc) --test --edition 2021 --crate-name wasakari --extern wasakari=$(CRATE)/libwasakari.rlib sdk/rust/src/lib.rs
	$(if $(SERDE),cd sdk/rust && CARGO_TARGET_DIR=$(CURDIR)/$(CRATE)/cargo cargo test -q --features serde)

.PHONY: crash
crash: build ## kill the demo after each of its requests, resume it, compare with an undisturbed run
	WASAKARI_CRASH_EVERY=1 $(GO) test -count=1 -timeout 60m -v -run TestCrash ./cmd/wasakari

# The lab needs root, and Debian 12's packages, which it installs.
.PHONY: e2e-short
e2e-short: build ## the four flows, tasks in Python and the service on a real Nova, in minutes (needs root; test/openstack/README.md)
	$(GO) test -tags e2e -count=1 -timeout 20m -v -run '^(TestShort|TestService)$$' ./test/openstack

.PHONY: e2e
e2e: build ## everything on a real Nova, about an hour (E2E='TestStates|TestKilled': only those)
	$(GO) test -tags e2e -count=1 -timeout 4h -v $(if $(E2E),-run '$(E2E)') ./test/openstack

# Debian's clients of Masakari, its process monitor, and a registry; installed when they are missing, which needs root.
CLIENTS := python3-openstackclient python3-masakariclient masakari-process-monitor docker-registry

.PHONY: clients
clients: build ## Masakari's own clients and monitor against wasakari serve, and an OCI registry (Debian packages)
	@dpkg-query -W $(CLIENTS) >/dev/null 2>&1 || { apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(CLIENTS); }
	$(GO) test -tags clients -count=1 -timeout 20m ./test/clients

.PHONY: languages
languages: ## the SDKs with their tool chains: tests, guests and examples built again, all documents typed (.ci/run installs what they need)
	$(MAKE) sdk-c sdk-rust sdk-javascript sdk-assemblyscript sdk-python
	$(MAKE) conformance-rebuild examples-rebuild
	$(GO) test -count=1 ./test/docs -all

.PHONY: author-day
author-day: $(BIN)/wasakari ## from task new to a push, per language, in minutes (LANGS='python go'; JSON=1; installs tools, needs root)
	@LANGS='$(LANGS)' OUTPUT=$(if $(JSON),json,text) test/authorday/author-day $(BIN)/wasakari

CHAOS     := $(BIN)/chaos
SEED      ?= 1
DURATION  ?= 1h
# Notifications about servers in a round of the storm, and the time in which they are sent.
VMS       ?= 2000
SENDING   ?= 100s

.PHONY: $(CHAOS)
$(CHAOS): examples
	@mkdir -p $@
	$(GO) build -tags chaos -o $@/wasakari ./cmd/wasakari
	$(GO) build -o $@/etcd go.etcd.io/etcd/server/v3
	$(GO) test -tags chaos -c -o $@/chaos.test ./internal/chaos

.PHONY: chaos-short
chaos-short: $(CHAOS) ## nodes and etcd killed, stopped, cut off: nothing is lost; fixed seeds, two minutes (internal/chaos/README.md)
	cd internal/chaos && ../../$(CHAOS)/chaos.test -test.v -test.timeout 10m -test.parallel 4 -sending 12s -vms 120 -seed 1

.PHONY: chaos
chaos: $(CHAOS) ## the same with thousands of notifications, round after round (SEED=1 DURATION=1h VMS=2000 SENDING=100s)
	cd internal/chaos && ../../$(CHAOS)/chaos.test -test.v -test.timeout 0 -test.parallel 4 -seed $(SEED) -duration $(DURATION) -vms $(VMS) -sending $(SENDING)

.PHONY: chaos-power
chaos-power: $(CHAOS) ## the same with the power cut: what was not synced is gone (needs root)
	cd internal/chaos && ../../$(CHAOS)/chaos.test -test.v -test.timeout 30m -test.run '^TestPower' -power -seed $(SEED)

# schemathesis and what it needs, in the versions of its list, for nothing but this.
FUZZER := .bin/schemathesis
$(FUZZER)/.made: test/service/testdata/requirements.txt
	rm -rf $(FUZZER)
	python3 -m venv $(FUZZER)
	$(FUZZER)/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

.PHONY: api-fuzz
api-fuzz: build $(FUZZER)/.made ## over 5000 random requests of the API's own OpenAPI document (needs python3-venv; SEED=1 EXAMPLES=500)
	$(GO) test -tags apifuzz -count=1 -timeout 60m -v -run '^TestAPIFuzz$$' ./test/service -schemathesis $(CURDIR)/$(FUZZER)/bin/schemathesis \
		$(if $(SEED),-seed $(SEED)) $(if $(EXAMPLES),-examples $(EXAMPLES))

.PHONY: bench
bench: ## benchmarks (COUNT=6 rounds; JSON=1: one document)
	@$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) $(if $(JSON),-json) ./abi ./runtime ./runtime/meter ./hostfuncs ./internal/runstate ./cmd/wasakari

.PHONY: bench-python
bench-python: ## a task of ten lines in Python: time start to end, and memory while under way (a quiet machine)
	$(GO) test -run '^$$' -bench Python -benchmem -count $(COUNT) ./internal/scripts

.PHONY: bench-guests
bench-guests: ## the guests of bench-peers (Debian: clang lld rustc libstd-rust-dev-wasm32 gcc libc6-dev)
	@for tool in $(CLANG) wasm-ld $(RUSTC) gcc; do \
		command -v $$tool >/dev/null || { echo "$$tool is missing: apt install clang lld rustc libstd-rust-dev-wasm32 gcc libc6-dev" >&2; exit 1; }; done
	@mkdir -p $(PEERS)
	@for abi in wasakari wapc extism; do \
		$(CLANG) --target=wasm32 -O2 -nostdlib -fno-builtin -Wall -Wextra -Wl,--no-entry,--strip-all -o $(PEERS)/c-$$abi.wasm bench/guests/c/$$abi.c; \
		$(RUSTC) --target wasm32-unknown-unknown --crate-type cdylib --edition 2021 -C opt-level=3 -C lto=fat -C panic=abort -C strip=symbols \
			--cfg "abi=\"$$abi\"" -o $(PEERS)/rust-$$abi.wasm bench/guests/rust/guest.rs; \
		(cd bench && $(GUEST) -tags $$abi -o $(CURDIR)/$(PEERS)/go-$$abi.wasm ./guests/go); done

.PHONY: bench-peers
bench-peers: bench-guests ## Wasakari beside wazero, waPC, wasmtime-go and Extism (JSON=1: one document)
	@cd bench && CGO_ENABLED=1 $(GO) build -o ../$(PEERS)/bench .
	@$(PEERS)/bench -guests $(PEERS) -output $(if $(JSON),json,$(OUTPUT))

.PHONY: bench-nova
bench-nova: ## off a dead host of a real Nova: its limit, this program, Masakari (SERVERS=20,100; ONLY=wasakari; JSON=1; needs root, a quiet machine)
	@{ $(MAKE) build && BENCH_NOVA_SERVERS='$(SERVERS)' BENCH_NOVA_JSON=$(CURDIR)/$(BIN)/bench-nova.json \
		$(GO) test -tags e2e,bench -count=1 -timeout 4h -v -run '^TestBenchNova$$$(if $(ONLY),/./$(ONLY))' ./test/openstack; } $(if $(JSON),>&2)
	@$(if $(JSON),cat $(BIN)/bench-nova.json)

.PHONY: bench-service
bench-service: ## the service: accepting, latencies, take-over, memory, start-up (JSON=1: one document; a quiet machine, a quarter of an hour)
	@{ $(MAKE) build && BENCH_SERVICE_JSON=$(CURDIR)/$(BIN)/bench-service.json \
		$(GO) test -tags bench -count=1 -timeout 1h -v -run '^TestBenchService$$$(if $(ONLY),/$(ONLY))' ./test/service; } $(if $(JSON),>&2)
	@$(if $(JSON),cat $(BIN)/bench-service.json)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	for p in $$($(GO) list ./...); do \
		for t in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			$(GO) test -run '^$$' -fuzz "^$$t$$" -fuzztime $(FUZZTIME) $$p; done; done

.PHONY: differential
differential: ## random modules, bare against metered (SEEDS=2000, FIRST=1; needs wasm-opt, Debian package binaryen)
	$(GO) test -count=1 -timeout 4h -v -run '^TestGenerated$$' ./runtime/meter -seeds $(or $(SEEDS),2000) -first $(or $(FIRST),1)

.PHONY: corpus
corpus: ## rebuild the random modules that the tests of metering keep (needs wasm-opt)
	rm -f runtime/meter/testdata/generated/*.wasm
	$(GO) test -count=1 -run '^TestGenerated$$' ./runtime/meter -seeds 170 -write testdata/generated

.PHONY: record-nova
record-nova: ## record transcripts from the lab (SUBJECT=locks: one of them)
	$(GO) test -tags lab -count=1 -timeout 60m -v -run '^TestRecord$$$(if $(SUBJECT),/^$(SUBJECT)$$)' ./novasim

.PHONY: generate
generate: ## rewrite what is generated: from abi/schema.json, docs/api-*.md, docs/configuration.md, the table of metrics
	$(GO) run ./internal/abigen
	$(GO) run ./internal/scaffold/gen
	$(GO) run ./internal/docgen
	$(GO) test -count=1 -run '^TestMetricsTable$$' ./internal/telemetry -write

.PHONY: testdata
testdata: ## rebuild the test guests (needs wat2wasm, Debian package wabt)
	$(GO) run ./internal/testwasm/gen
	$(GO) run ./internal/testwasm/gen runtime/hostile/testdata
	wat2wasm sdk/testdata/from_abi.wat -o sdk/testdata/from_abi.wasm
	for w in cmd/wasakari/testdata/*.wat; do wat2wasm --debug-names $$w -o $${w%.wat}.wasm; done

$(LINT): tools/go.mod
	$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: fmt
fmt: $(LINT) ## format everything
	for m in $(MODULES); do (cd $$m && $(CURDIR)/$(LINT) fmt); done

.PHONY: lint
lint: $(LINT)
	$(LINT) run ./...
	$(LINT) run --build-tags apifuzz,bench,chaos,clients,e2e,lab ./cmd/... ./internal/chaos/... ./novasim/... ./test/...
	cd sdk/go && $(CURDIR)/$(LINT) run ./...
	cd sdk/go && GOOS=wasip1 GOARCH=wasm $(CURDIR)/$(LINT) run .
	cd tasks-examples && GOOS=wasip1 GOARCH=wasm $(CURDIR)/$(LINT) run --tests=false ./...
	for m in $(MODULES); do (cd $$m && $(CURDIR)/$(LINT) fmt --diff); done

.PHONY: check
check: lint generate standard testdata ## what CI checks before it tests: lint, formats, generated files, tidy modules
	for m in $(MODULES); do (cd $$m && $(GO) vet ./... && $(GO) fix -diff ./... && $(GO) mod tidy -diff && $(GO) mod verify); done
	cd bench && $(GO) vet ./... && $(GO) fix -diff ./... && $(CURDIR)/$(LINT) fmt --diff
	git diff --exit-code

# The same commit makes the same bytes, whoever builds it with the same tools.
.PHONY: deb
deb: ## the Debian package (dist/*.deb)
	@mkdir -p dist
	$(GO) build -trimpath -buildvcs=false -ldflags='-s -w -X main.version=$(VERSION)' -o dist/wasakari ./cmd/wasakari
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} packaging/deb.sh dist/wasakari $(VERSION) dist

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN) .bin dist
