//! What went wrong on the network, told from the errors of the client.

use std::error::Error;
use std::io::ErrorKind;

use super::super::answers::{HttpFailure, HttpFailureKind};
use crate::grants::Origin;

/// There was no answer.
pub(super) fn before_answer(error: reqwest::Error, server: &Origin) -> HttpFailure {
    let lost = HttpFailureKind::Terminated;
    told(error, server, lost, "does not answer")
}

/// The answer broke off.
pub(super) fn within_answer(error: reqwest::Error, server: &Origin) -> HttpFailure {
    let lost = HttpFailureKind::Incomplete;
    told(error, server, lost, "broke its answer off")
}

fn told(error: reqwest::Error, server: &Origin, lost: HttpFailureKind, what: &str) -> HttpFailure {
    // The log says itself what was asked.
    let error = error.without_url();
    if let Some(own) = causes(&error).find_map(|cause| cause.downcast_ref::<HttpFailure>()) {
        return own.clone();
    }
    let texts: Vec<String> = causes(&error).map(ToString::to_string).collect();
    let why = format!("{server} {what}: {}", texts.join(": "));
    HttpFailure::new(kind(&error, lost, &why), why)
}

fn kind(error: &reqwest::Error, lost: HttpFailureKind, why: &str) -> HttpFailureKind {
    if error.is_timeout() {
        return match error.is_connect() {
            true => HttpFailureKind::ConnectTimeout,
            false => HttpFailureKind::ReadTimeout,
        };
    }
    let io = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    let io = io.map(std::io::Error::kind).last();
    let hyper = causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
    match (io, hyper) {
        // Encryption has errors of its own kind within.
        _ if error.is_connect() && why.contains("certificate") => HttpFailureKind::Certificate,
        (Some(ErrorKind::ConnectionRefused), _) => HttpFailureKind::Refused,
        // The network's own errors are of more telling kinds.
        (Some(ErrorKind::InvalidData | ErrorKind::Other), _) if error.is_connect() => {
            HttpFailureKind::Tls
        }
        _ if error.is_connect() => HttpFailureKind::Unavailable,
        (Some(_), _) => lost,
        (None, Some(hyper)) if hyper.is_parse() => HttpFailureKind::Protocol,
        (None, Some(_)) => lost,
        (None, None) => HttpFailureKind::Protocol,
    }
}

/// An error and what it came of.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
