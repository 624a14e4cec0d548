//! What surrounds the handler of invocations: it gets the body as it came, and the process ends between two of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use anyhow::Result;
use lambda_runtime::tower::{Layer, Service};
use lambda_runtime::{Error, LambdaInvocation};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::log;

/// Where the invocation at hand lies.
#[derive(Default)]
pub(super) struct Desk {
    body: Mutex<Vec<u8>>,
    /// Held while there is one.
    busy: Arc<tokio::sync::Mutex<()>>,
}

impl Desk {
    /// The body of the invocation at hand.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.body.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, body: Vec<u8>) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = body;
    }
}

/// The signals on which the process ends.
pub(super) struct Closing {
    terminate: Signal,
    interrupt: Signal,
}

impl Closing {
    /// From here on none is missed.
    pub(super) fn listen() -> Result<Self> {
        Ok(Closing {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Comes when a signal has come and the invocation at hand, if there is one, is answered.
    pub(super) async fn time(mut self, desk: &Desk) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        drop(desk.busy.lock().await);
    }
}

/// Puts the body of each invocation on the desk, since the runtime would hand over JSON only, and answers what is
/// none before anybody can say what was expected; and says in the log which invocation it is.
pub(super) struct Shell<S> {
    inner: S,
    desk: Arc<Desk>,
}

/// Makes [`Shell`]s.
pub(super) struct ShellLayer(Arc<Desk>);

impl Shell<()> {
    pub(super) fn layer(desk: Arc<Desk>) -> ShellLayer {
        ShellLayer(desk)
    }
}

impl<S> Layer<S> for ShellLayer {
    type Service = Shell<S>;

    fn layer(&self, inner: S) -> Shell<S> {
        Shell {
            inner,
            desk: self.0.clone(),
        }
    }
}

impl<S> Service<LambdaInvocation> for Shell<S>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let busy = self.desk.busy.clone().try_lock_owned();
        let named = log::Named::new(&invocation.context.request_id);
        let body = std::mem::replace(&mut invocation.body, b"null"[..].into());
        self.desk.put(body.into());
        let answering = self.inner.call(invocation);
        Box::pin(async move {
            let answered = answering.await;
            drop((named, busy));
            answered
        })
    }
}
