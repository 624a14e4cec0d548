# What a newcomer types: `make demo` runs the main job, `make test` passes the tests. Each sets up what it needs.

PLUGINS := sum csv-to-json ndjson-filter url-lookup
GUESTS := unruly hungry prober
LINEMILL := target/release/linemill
WASM := target/wasm32-wasip2/plugin
DEMO := target/demo

.PHONY: demo test bench host plugins guests

# 2 000 web server events, some of them broken, through a plugin that keeps those with status 200.
# linemill exits with 1 when some lines were not processed, which here is what is to be seen.
demo: host plugins
	@rm -rf $(DEMO)
	$(LINEMILL) run --plugin $(WASM)/ndjson_filter.wasm --out $(DEMO) plugins/ndjson-filter/sample/events.ndjson || [ $$? -eq 1 ]
	@echo; echo "good lines ($(DEMO)/destination/...):"
	@head -n 3 $(DEMO)/destination/plugins/ndjson-filter/sample/events.ndjson
	@echo; echo "bad lines, and why ($(DEMO)/corruption/...):"
	@cat $(DEMO)/corruption/plugins/ndjson-filter/sample/events.ndjson.faults.ndjson

# Tests whose server cannot be had say that they are skipped.
test: host plugins guests
	.ci/servers || echo "going on without servers"
	cargo test --release --workspace

bench: host plugins guests
	cargo bench -p linemill

host:
	cargo build --release -p linemill

plugins:
	.ci/wasm-target
	cargo build --profile plugin --target wasm32-wasip2 $(PLUGINS:%=-p %)

guests:
	.ci/wasm-target
	cargo build --profile plugin --target wasm32-wasip2 $(GUESTS:%=-p %)
