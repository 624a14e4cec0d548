//! What plugins may import: the host interface of the contract, baseline WASI with nothing behind it but what is
//! granted, and HTTP where some is.

use anyhow::Result;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};

use super::contract::host;
use super::http;
use super::state::State;

/// Everything that plugins may import. Sockets are not in it, nor HTTP unless some is granted: a plugin that imports
/// what is not in it does not load.
pub(super) fn linker(engine: &Engine, http: bool) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    host::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    // Streams, clocks, random numbers, stdin, stdout and stderr.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(&mut linker)?;
    standard_library(&mut linker)?;
    // Random numbers go by the tape of the instance, where it has one.
    linker.allow_shadowing(true);
    random::random::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    linker.allow_shadowing(false);
    if http {
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        http::tell_body_errors(&mut linker)?;
    }
    Ok(linker)
}

/// What languages' standard libraries import besides: folders and variables are there as far as they are granted.
fn standard_library(l: &mut Linker<State>) -> wasmtime::Result<()> {
    random::insecure::add_to_linker::<State, WasiRandom>(l, State::random)?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(l, State::random)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    filesystem::types::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)
}
