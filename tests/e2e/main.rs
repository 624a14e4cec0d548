//! End-to-end tests: the real binary, real plugins, real files; nothing of linemill is linked in.
//!
//! `LINEMILL_TEST_BIN` (the binary) and `LINEMILL_TEST_PLUGINS` (a folder of `.wasm` files) say what is tested;
//! without them both are built first.

mod bench;
mod capsules;
mod cases;
mod check;
mod command_line;
mod compile;
mod components;
mod config;
mod contract;
mod deadlines;
mod destinations;
mod dev;
mod entries;
mod faults;
mod forerunner;
mod gcs;
mod grants;
mod instances;
mod kill;
mod lambda;
mod languages;
mod lookups;
mod plugins;
mod pointers;
mod poison;
mod projects;
mod reasons;
mod redrive;
mod replay;
mod s3;
mod serve;
mod signals;
mod sources;
mod support;
mod urls;
