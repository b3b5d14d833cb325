# What a person types. CI runs `make test` and nothing else (.ci/run).
.DEFAULT_GOAL := help
.PHONY: help setup demo test bench bench-compare bench-dns bench-front bench-nodes bench-soak bench-steering fmt lint docs

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

help:
	@echo 'make demo    build Skerry and run a whole CDN on this machine: control plane, shield, two edges, DNS, origin'
	@echo 'make test    everything CI runs: formatting, lints, tests with real processes, documentation'
	@echo 'make setup   install the system packages that building and testing need (Debian, Ubuntu)'
	@echo 'make bench   hits, misses and herds, beside nginx, Varnish and Traffic Server where they are installed; under five minutes'
	@echo 'make bench-compare  all plans of loadtest beside those; writes docs/performance-compare.md and .html, fifteen minutes'
	@echo 'make bench-front  what hits and idle connections cost, beside nginx over every protocol; writes docs/performance.md, five minutes'
	@echo 'make bench-dns  answers of DNS in a second of one core, beside Knot DNS and NSD; writes docs/performance-dns.md, two minutes'
	@echo 'make bench-soak what an edge takes of memory, a million answers on disk; writes docs/performance-soak.md, six minutes, 9 GB of disk'
	@echo 'make bench-steering  which edge clients are sent to, simulated; writes docs/performance-steering.md and its plots, five minutes'
	@echo 'make bench-nodes  a thousand nodes on one control plane; writes docs/performance-nodes.md, six minutes, 16 GB of memory'
	@echo 'make fmt     format the code          make lint    formatting and lints only'
	@echo 'make docs    the API documentation of all crates'

setup:
	@.ci/setup build try test

demo:
	@.ci/setup build try
	$(CARGO) build --release --locked --bin skerry
	@exec $(TARGET)/release/skerry dev

test: setup lint
	@.ci/test $(CARGO)

bench:
	@.ci/setup build bench
	$(CARGO) build --release --locked --package skerry --package skerry-loadtest
	@.ci/bench $(TARGET)/release

bench-compare:
	@.ci/setup build bench
	$(CARGO) build --release --locked --package skerry --package skerry-loadtest
	@.ci/bench-compare $(TARGET)/release docs/performance-compare.json

bench-front:
	@.ci/setup build test
	$(CARGO) build --release --locked --package skerry --package skerry-loadtest
	@.ci/bench-front $(TARGET)/release docs/performance.json

bench-dns:
	@.ci/setup build bench
	$(CARGO) build --release --locked --package skerry-dns --example answers
	@.ci/bench-dns $(TARGET)/release/examples >$(TARGET)/performance-dns.md
	@mv $(TARGET)/performance-dns.md docs/performance-dns.md

bench-nodes:
	@.ci/setup build test
	$(CARGO) build --release --locked --package skerry --package skerry-loadtest
	@.ci/bench-nodes $(TARGET)/release docs/performance-nodes.md

bench-soak:
	@.ci/setup build test
	$(CARGO) build --release --locked --package skerry --package skerry-loadtest
	@.ci/bench-soak $(TARGET)/release docs/performance-soak.json

bench-steering:
	@.ci/setup build
	$(CARGO) build --release --locked --package skerry-loadtest
	@.ci/bench-steering $(TARGET)/release docs/performance-steering.json

fmt:
	$(CARGO) fmt --all

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

docs:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked
