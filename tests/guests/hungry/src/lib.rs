//! A guest that asks for more than it is granted: it imports `wasi:sockets`, so a host that
//! grants no network must refuse it when it is loaded. If it does run, it echoes its lines and
//! says what became of its connection.

#![allow(unsafe_code)] // in generated code only

use std::net::TcpStream;

use bindings::exports::linemill::plugin::processor::{
    Closing, Counts, Failure, Guest, Outcome, Request,
};
use bindings::linemill::plugin::types::Output;

#[allow(missing_docs, unreachable_pub, clippy::undocumented_unsafe_blocks)]
mod bindings {
    //! What wit-bindgen makes of `wit/`.
    wit_bindgen::generate!({ world: "plugin", path: "../../../wit" });
}

struct Hungry;

impl Guest for Hungry {
    fn pre(_: Request) -> Result<Vec<u8>, Failure> {
        Ok(Vec::new())
    }

    fn process(_: u64, mut lines: Vec<u8>) -> Result<Outcome, Failure> {
        let connected = match TcpStream::connect("127.0.0.1:9") {
            Ok(_) => "connected\n".to_owned(),
            Err(error) => format!("not connected: {error}\n"),
        };
        lines.extend_from_slice(connected.as_bytes());
        Ok(Outcome {
            attempted: None,
            faults: Vec::new(),
            outputs: vec![Output {
                route: String::new(),
                data: lines,
            }],
            metrics: Vec::new(),
            partial: None,
        })
    }

    fn post(_: Request, _: Counts, _: Vec<Vec<u8>>) -> Result<Closing, Failure> {
        Ok(Closing {
            outputs: Vec::new(),
            metrics: Vec::new(),
        })
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Hungry with_types_in bindings);
