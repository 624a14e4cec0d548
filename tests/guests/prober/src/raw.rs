//! What nobody should do with HTTP, against the bare interface.

use std::mem::forget;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unsafe_code,
        unused,
        clippy::undocumented_unsafe_blocks
    )]
    wit_bindgen::generate!({ world: "linemill:sdk/http-client", path: "../../../guest-sdk/wit", generate_all });
}

use bindings::wasi::http::outgoing_handler::handle;
use bindings::wasi::http::types::{
    Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use bindings::wasi::io::streams::OutputStream;

/// A request whose body has only begun.
struct Begun {
    answering: FutureIncomingResponse,
    body: OutgoingBody,
    stream: OutputStream,
}

impl Begun {
    fn new(url: &str) -> Self {
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .expect("a URL with a path");
        let request = OutgoingRequest::new(Fields::new());
        let set = (request.set_scheme(Some(&Scheme::Http)))
            .and_then(|()| request.set_authority(Some(host)))
            .and_then(|()| request.set_path_with_query(Some(&format!("/{path}"))))
            .and_then(|()| request.set_method(&Method::Post));
        set.expect("it can be asked");
        let body = request.body().expect("it has none yet");
        let stream = body.write().expect("nobody writes yet");
        let answering = handle(request, None).expect("it is asked");
        let begun = stream.blocking_write_and_flush(b"begin");
        begun.expect("somebody takes it");
        Begun {
            answering,
            body,
            stream,
        }
    }

    fn status(&self) -> String {
        self.answering.subscribe().block();
        match self.answering.get().expect("it is there") {
            Ok(Ok(answer)) => answer.status().to_string(),
            Ok(Err(code)) => format!("failed: {code:?}"),
            Err(()) => "taken".to_owned(),
        }
    }
}

/// Begins to send, and ends itself in the middle once it was answered.
pub(crate) fn abandon(url: &str) -> String {
    let begun = Begun::new(url);
    panic!("abandoned after {}", begun.status());
}

/// Takes the answer, and never ends the request.
pub(crate) fn linger(url: &str) -> String {
    let begun = Begun::new(url);
    let status = begun.status();
    forget((begun.body, begun.stream));
    status
}

/// Headers without end.
pub(crate) fn hoard_headers() -> String {
    let value = vec![b'x'; 60_000];
    loop {
        let headers = Fields::new();
        if let Err(error) = headers.append("x", &value) {
            return format!("failed: {error:?}");
        }
        forget(headers);
    }
}

/// Bodies that nobody asks for, without end.
pub(crate) fn hoard_bodies() -> String {
    loop {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body().expect("it has none yet");
        let stream = body.write().expect("nobody writes yet");
        while let Ok(room @ 1..) = stream.check_write() {
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            stream.write(&vec![b'x'; room]).expect("there is room");
        }
        drop(stream);
        forget((request, body));
    }
}
