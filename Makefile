# make demo and make test need Go, C and C++ compilers (Debian: build-essential) and git, nothing else. `make help` lists the targets.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

VERSION := $(shell sed -n 's/^.*Version = "\(.*\)"/\1/p' internal/version/version.go)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)$(shell git diff --quiet HEAD 2>/dev/null || echo -dirty)
LDFLAGS := -X coldframe/internal/version.Commit=$(COMMIT)
# Release flags are in scripts/dist: -trimpath would compile every dependency a second time here.
GOBUILD := go build -buildvcs=false -ldflags '$(LDFLAGS)'
PROGRAMS := coldframe coldframed coldframe-coordinator
# The query engine is a module of its own, with DuckDB in it; the agent knows only its path.
ENGINE   := $(CURDIR)/bin/coldframe-engine

PREFIX  ?= /usr/local
DESTDIR ?=
# The longest package takes a few minutes under the race detector on two cores.
TESTFLAGS ?= -race -timeout 20m
TESTLOG   ?= .cache/test.json
BENCHFLAGS ?=

.PHONY: help build engine demo test check fuzz interop threats guards bench bench-columnar bench-ratchet bench-coordinator tour dist install generate clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

build: ## build the programs into bin/
	@mkdir -p bin
	$(GOBUILD) -o bin/ $(addprefix ./cmd/,$(PROGRAMS))
	@if [ "$$(uname -s)" = Linux ]; then $(MAKE) --no-print-directory engine; fi

engine: ## build the query engine alone (DuckDB, static; the first time it downloads about 35 MB)
	cd engine && go build -buildvcs=false -tags duckdb_arrow -o $(ENGINE) .

demo: build ## the main job on real data, then three people and a coordinator: in folders of their own, nothing else to start
	@examples/demo.sh
	@examples/people.sh

test: ## everything that needs no outside server, race detector on
	@mkdir -p $(dir $(TESTLOG))
	@go test $(TESTFLAGS) -json ./... | tee $(TESTLOG) | go run ./internal/tools/threats

threats: ## each row of the threat model with its tests and their outcome (LOG="files" reuses logs)
	@if [ -z "$(LOG)" ]; then $(MAKE) --no-print-directory test && scripts/alone .cache/alone.json; fi
	@cat $(or $(LOG),$(TESTLOG) .cache/alone.json) | go run ./internal/tools/threats -quiet -coverage docs/threats.csv

guards: ## take guards out, one at a time, and see that the tests of their rows notice
	@scripts/guards

check: ## format, vet, linter, generated code, systemd units
	@fmt=$$($$(scripts/tool gofumpt) -l $$(git ls-files '*.go' | grep -v '\.gen\.go$$')); test -z "$$fmt" || { echo "not formatted: $$fmt"; exit 1; }
	go vet ./...
	$$(scripts/tool golangci-lint) run ./...
	cd engine && go vet -tags duckdb_arrow . && $$(../scripts/tool golangci-lint) run --build-tags duckdb_arrow ./...
	deploy/verify.sh

fuzz: ## every fuzz target; FUZZTIME seconds in all (default 360)
	@scripts/fuzz $${FUZZTIME:-360}

# Wycheproof and RFC vectors, reference files of Parquet C++ and parquet-java, arrow-go's own decryption, tables as pandas, polars and DuckDB
# emit them, a real S3 server, pyarrow, parquet-java.
INTEROP := Wycheproof|RFC8452|Known|ReferenceFile|StockReader|Fixtures|Gateway|ColumnSubsetFromS3
interop: build ## checks against outside implementations
	COLDFRAME_VERSITYGW=$$(scripts/tool versitygw) go test -count=1 -v -run '$(INTEROP)' ./internal/... ./ratchet/... ./columnar/... | grep -vE '^(=== |    --- PASS|testing: warning|\?)'
	classes=$$(interop/parquetjava/install); COLDFRAME_PARQUETJAVA=$$classes scripts/python-reader && scripts/with-s3 scripts/python-reader
	dir=$$(interop/libsignal/install); COLDFRAME_LIBSIGNAL=$$dir COLDFRAME_DIALOGUES=full go test -count=1 -v -timeout 30m ./interop/... | grep -vE '^(=== | +--- PASS|\?)'

tour: build ## the README's curl tour, run as it stands there
	@scripts/readme-tour

bench: bench-columnar bench-ratchet bench-coordinator ## all benchmarks

bench-columnar: build ## datasets against DuckDB, pyarrow, arrow-go and the bare S3 SDK; cost of encryption; memory (BENCHFLAGS=-strict: fail if short)
	@scripts/with-s3 go run ./bench/columnar $(BENCHFLAGS)

bench-ratchet: ## messages a second against libsignal through node, each storing its record at every message; memory of idle sessions
	@dir=$$(interop/libsignal/install); COLDFRAME_LIBSIGNAL=$$dir go run ./bench/ratchet

bench-coordinator: ## mail, prekeys and blobs a second against bare Badger; memory and wake-up of 2,000 agents at one coordinator
	@go run ./bench/coordinator

dist: ## release files in dist/, built twice and compared
	@scripts/dist "$(VERSION)" "$(COMMIT)"

# Does not build: as root that would leave files of root here, and Go may be nowhere in sudo's PATH.
install: ## programs of bin/ (make build) and systemd units under DESTDIR and PREFIX
	@for program in $(PROGRAMS); do test -x bin/$$program || { echo "bin/$$program is not there: make build first"; exit 1; }; done
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/user $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d
	install -m 0755 $(addprefix bin/,$(PROGRAMS)) $(wildcard $(ENGINE)) $(DESTDIR)$(PREFIX)/bin/
	for unit in deploy/user/*; do sed 's|/usr/local/bin|$(PREFIX)/bin|' $$unit > $(DESTDIR)$(PREFIX)/lib/systemd/user/$$(basename $$unit); done
	for unit in deploy/system/*; do sed 's|/usr/local/bin|$(PREFIX)/bin|' $$unit > $(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$unit); done
	install -m 0644 deploy/sysusers/* $(DESTDIR)$(PREFIX)/lib/sysusers.d/
	chmod 0644 $(DESTDIR)$(PREFIX)/lib/systemd/user/coldframe* $(DESTDIR)$(PREFIX)/lib/systemd/system/coldframe*

generate: ## servers and clients from the two openapi.yaml
	PATH="$$(dirname $$(scripts/tool oapi-codegen)):$$PATH" go generate ./localapi/... ./coordinator/...

clean: ## remove what the other targets made
	rm -rf bin dist .cache
