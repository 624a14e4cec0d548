# What a newcomer types: `make demo` runs the main job, `make test` passes the tests. Each sets up what it needs.

PLUGINS := sum csv-to-json ndjson-filter url-lookup
GUESTS := unruly hungry prober
LINEMILL := target/release/linemill
WASM := target/wasm32-wasip2/plugin
DEMO := target/demo
TOOLS := target/languages/bin
# Plugins and guests of tests that are not written in Rust: the component's name, and the folder of its source.
JS := csv_to_json_js:plugins/csv-to-json-js unruly_js:tests/languages/unruly-js
PYTHON := sum_py:plugins/sum-py unruly_py:tests/languages/unruly-py
C := sum_c:plugins/sum-c unruly_c:tests/languages/unruly-c
ZIG := sum_zig:plugins/sum-zig

.PHONY: demo test bench host plugins guests languages toolchains

# 2 000 web server events, some of them broken, through a plugin that keeps those with status 200.
# linemill exits with 1 when some lines were not processed, which here is what is to be seen.
demo: host plugins
	@rm -rf $(DEMO)
	$(LINEMILL) run --plugin $(WASM)/ndjson_filter.wasm --out $(DEMO) plugins/ndjson-filter/sample/events.ndjson || [ $$? -eq 1 ]
	@echo; echo "good lines ($(DEMO)/destination/...):"
	@head -n 3 $(DEMO)/destination/plugins/ndjson-filter/sample/events.ndjson
	@echo; echo "bad lines, and why ($(DEMO)/corruption/...):"
	@cat $(DEMO)/corruption/plugins/ndjson-filter/sample/events.ndjson.faults.ndjson

# Tests whose server or browser cannot be had say that they are skipped.
test: host plugins guests
	$(MAKE) languages || echo "going on without some languages"
	.ci/servers || echo "going on without servers"
	.ci/browser || echo "going on without a browser"
	cargo test --release --workspace

bench: host plugins guests
	$(MAKE) languages || echo "going on without some languages"
	cargo bench -p linemill

host:
	cargo build --release -p linemill

plugins:
	.ci/wasm-target
	cargo build --profile plugin --target wasm32-wasip2 $(PLUGINS:%=-p %)

guests:
	.ci/wasm-target
	cargo build --profile plugin --target wasm32-wasip2 $(GUESTS:%=-p %)

# Plugins in JavaScript, Python, C and Zig; what cannot be built does not keep the others from it.
languages: toolchains
	$(MAKE) --keep-going $(foreach plugin,$(JS) $(PYTHON) $(C) $(ZIG),$(WASM)/$(firstword $(subst :, ,$(plugin))).wasm)

toolchains:
	.ci/languages || echo "going on without some toolchains"

WIT := wit/plugin.wit
folder = $(lastword $(subst :, ,$(filter $(1):%,$(JS) $(PYTHON) $(C) $(ZIG))))
names = $(foreach plugin,$(1),$(WASM)/$(firstword $(subst :, ,$(plugin))).wasm)

# A component appears under its name only once it is whole.
.SECONDEXPANSION:
$(call names,$(JS)): $(WASM)/%.wasm: $$(call folder,$$*)/plugin.js guest-sdk/js/linemill.js $(WIT)
	@mkdir -p $(WASM)
	$(TOOLS)/componentize-js $< --wit wit --world-name reducing-plugin --disable http fetch-event --out $@.new
	@mv $@.new $@

$(call names,$(PYTHON)): $(WASM)/%.wasm: $$(call folder,$$*)/plugin.py guest-sdk/python/linemill.py guest-sdk/python/build.py $(WIT)
	@mkdir -p $(WASM)
	target/languages/venv/bin/python guest-sdk/python/build.py -p $(dir $<) -p guest-sdk/python -o $@.new
	@mv $@.new $@

C_SDK := guest-sdk/c/linemill.c guest-sdk/c/reducing_plugin.c guest-sdk/c/component_type.c
$(call names,$(C)): $(WASM)/%.wasm: $$(call folder,$$*)/plugin.c $(C_SDK) guest-sdk/c/linemill.h guest-sdk/c/reducing_plugin.h
	@mkdir -p $(WASM)
	$(TOOLS)/wasi-clang -O2 -Wall -Wextra -Werror -mexec-model=reactor -Iguest-sdk/c $< $(C_SDK) -Wl,-s -o $@.new
	@mv $@.new $@

# The object is Zig's, the rest is the C SDK.
ZIG_OBJECT := target/languages/zig-object
$(call names,$(ZIG)): $(WASM)/%.wasm: $$(call folder,$$*)/plugin.zig guest-sdk/zig/linemill.zig $(C_SDK) guest-sdk/c/linemill.h guest-sdk/c/reducing_plugin.h
	@mkdir -p $(WASM) $(ZIG_OBJECT)
	target/languages/zig/bin/python -m ziglang build-obj -target wasm32-wasi -O ReleaseFast --dep linemill -Mroot=$< -Mlinemill=guest-sdk/zig/linemill.zig \
	  --cache-dir $(ZIG_OBJECT)/cache --global-cache-dir $(ZIG_OBJECT)/cache -femit-bin=$(ZIG_OBJECT)/$*.o
	$(TOOLS)/wasi-clang -O2 -Wall -Wextra -Werror -mexec-model=reactor -Iguest-sdk/c $(ZIG_OBJECT)/$*.o $(C_SDK) -Wl,-s -o $@.new
	@mv $@.new $@
