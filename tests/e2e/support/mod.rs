//! The harness: a [`Case`] says what is run, its [`Outcome`] all that came of it, and [`Case::check`] compares both
//! with what is expected. What an expectation leaves unsaid must be empty, and every outcome's books are checked.

mod books;
mod browser;
mod case;
mod client;
pub(crate) mod cloud;
mod disk;
mod files;
mod gcs;
mod http;
pub(crate) mod lambda;
mod lookup;
mod outcome;
mod pipe;
mod pointer;
mod process;
mod render;
mod report;
mod runtime_api;
mod s3;
mod served;
mod server;
mod skip;
mod store;
mod tools;

pub(crate) use browser::Browser;
pub(crate) use case::Case;
pub(crate) use client::{Answer, Client};
pub(crate) use disk::Disk;
pub(crate) use files::{Files, gzip, numbered, snapshot, unpack, zstd};
pub(crate) use http::{Asked, HttpServer, respond};
pub(crate) use lookup::LookupServer;
pub(crate) use outcome::Outcome;
pub(crate) use report::Report;
pub(crate) use served::Served;
pub(crate) use skip::skip;
pub(crate) use store::{Place, Store};
pub(crate) use tools::{binary, cache_home, other_language, plugin};
