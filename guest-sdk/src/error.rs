//! Why a line, or a whole call, was not processed: who is to blame, and what to do about it.

use std::fmt::{self, Display, Write};

use crate::bindings::{Failure, Fault, FaultKind};

/// The result of everything that a plugin does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who is to blame, and so what happens to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The data: running the line again cannot help.
    Corrupt,
    /// Something else: running the line again may help.
    Retry,
    /// The whole request: nothing more of it can succeed now.
    Fatal,
}

/// Why a line, or a whole call, was not processed.
///
/// Any standard error becomes one with `?`, of kind [`Kind::Retry`]; [`Blame`] gives it another
/// kind. The size of a pointer, so that a line that succeeds does not pay for it.
pub struct Error(Box<Reason>);

struct Reason {
    kind: Kind,
    message: String,
    remainder: Option<Vec<u8>>,
}

impl Error {
    /// The data are at fault: running the line again cannot help. See [`corrupt!`](crate::corrupt).
    #[cold]
    pub fn corrupt(reason: impl Display) -> Self {
        Self::new(Kind::Corrupt, reason.to_string())
    }

    /// Running the line again may help. See [`retry!`](crate::retry).
    #[cold]
    pub fn retry(reason: impl Display) -> Self {
        Self::new(Kind::Retry, reason.to_string())
    }

    /// Part of the line is done, and only `rest` is to be run again. It becomes a line of
    /// its own, so it has no line end.
    #[cold]
    pub fn retry_rest(rest: impl Into<Vec<u8>>, reason: impl Display) -> Self {
        let mut error = Self::retry(reason);
        error.0.remainder = Some(rest.into());
        error
    }

    /// Nothing more of this request can succeed now: it stops, and what is left is retried.
    /// See [`fatal!`](crate::fatal).
    #[cold]
    pub fn fatal(reason: impl Display) -> Self {
        Self::new(Kind::Fatal, reason.to_string())
    }

    fn new(kind: Kind, message: String) -> Self {
        Self(Box::new(Reason {
            kind,
            message,
            remainder: None,
        }))
    }

    /// Who is to blame.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The reason, with its causes.
    pub fn reason(&self) -> &str {
        &self.0.message
    }

    /// With [`Error::retry_rest`]: what is left to do.
    pub fn remainder(&self) -> Option<&[u8]> {
        self.0.remainder.as_deref()
    }

    /// The same error with another kind. A remainder is only kept for [`Kind::Retry`].
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        if kind != Kind::Retry {
            self.0.remainder = None;
        }
        self
    }

    /// The same error, saying first what was being done.
    #[must_use]
    pub fn context(mut self, doing: impl Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// The fault of one line; an error that is no line's fault comes back.
    pub(crate) fn into_fault(self, line: u32) -> Result<Fault> {
        let kind = match self.0.kind {
            Kind::Corrupt => FaultKind::Corrupt,
            Kind::Retry => FaultKind::Retry,
            Kind::Fatal => return Err(self),
        };
        let reason = *self.0;
        Ok(Fault {
            line,
            kind,
            reason: reason.message,
            remainder: reason.remainder,
        })
    }

    /// The failure of a whole call.
    pub(crate) fn into_failure(self) -> Failure {
        let reason = *self.0;
        match reason.kind {
            Kind::Corrupt => Failure::Corrupt(reason.message),
            Kind::Retry => Failure::Retry(reason.message),
            Kind::Fatal => Failure::Fatal(reason.message),
        }
    }
}

/// An ordinary error says nothing against the data, so the line is retried.
impl<E: std::error::Error + 'static> From<E> for Error {
    #[cold]
    fn from(error: E) -> Self {
        Self::new(Kind::Retry, with_causes(&error))
    }
}

/// `error: cause: cause`, without the causes that the messages before them already tell.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.ends_with(&text) {
            let _ = write!(message, ": {text}"); // a String takes everything
        }
        cause = error.source();
    }
    message
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.reason())?;
        match self.remainder() {
            Some(rest) => write!(f, " (rest: {})", String::from_utf8_lossy(rest)),
            None => Ok(()),
        }
    }
}

/// Says who is to blame when a result is an error, or an option is empty.
pub trait Blame<T>: Sized {
    /// Blames the data: running the line again cannot help.
    fn corrupt(self) -> Result<T> {
        self.blame(Kind::Corrupt)
    }

    /// Blames the data, and says first what was being done.
    fn corrupt_with<D: Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.blame_with(Kind::Corrupt, doing)
    }

    /// Says that running the line again may help, and what was being done.
    fn retry_with<D: Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.blame_with(Kind::Retry, doing)
    }

    /// Says that nothing more of this request can succeed now, and what was being done.
    fn fatal_with<D: Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.blame_with(Kind::Fatal, doing)
    }

    /// Gives the error this kind.
    fn blame(self, kind: Kind) -> Result<T>;

    /// Gives the error this kind, and says first what was being done.
    fn blame_with<D: Display>(self, kind: Kind, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Blame<T> for Result<T, E> {
    #[inline]
    fn blame(self, kind: Kind) -> Result<T> {
        self.map_err(|error| error.into().with_kind(kind))
    }

    #[inline]
    fn blame_with<D: Display>(self, kind: Kind, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().with_kind(kind).context(doing()))
    }
}

impl<T> Blame<T> for Option<T> {
    #[inline]
    fn blame(self, kind: Kind) -> Result<T> {
        self.ok_or_else(|| Error::new(kind, "something is missing".to_owned()))
    }

    #[inline]
    fn blame_with<D: Display>(self, kind: Kind, doing: impl FnOnce() -> D) -> Result<T> {
        self.ok_or_else(|| Error::new(kind, doing().to_string()))
    }
}

/// An [`Error`] that blames the data: `return Err(corrupt!("{n} columns"))`.
#[macro_export]
macro_rules! corrupt {
    ($($message:tt)+) => { $crate::Error::corrupt(::std::format_args!($($message)+)) };
}

/// An [`Error`] that asks for the line to be run again: `return Err(retry!("HTTP {code}"))`.
#[macro_export]
macro_rules! retry {
    ($($message:tt)+) => { $crate::Error::retry(::std::format_args!($($message)+)) };
}

/// An [`Error`] that stops the request: `return Err(fatal!("the quota is used up"))`.
#[macro_export]
macro_rules! fatal {
    ($($message:tt)+) => { $crate::Error::fatal(::std::format_args!($($message)+)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no number")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    fn outer() -> Result<(), Outer> {
        "x".parse::<i64>().map(drop).map_err(Outer)
    }

    fn check(result: Result<()>, kind: Kind, reason: &str) {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (kind, reason));
    }

    #[test]
    fn an_error_is_as_small_as_a_pointer() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn the_kind_follows_the_blame_and_causes_are_told() {
        let chain = "no number: invalid digit found in string";
        check((|| Ok(outer()?))(), Kind::Retry, chain);
        check(outer().corrupt(), Kind::Corrupt, chain);
        check(
            outer().corrupt_with(|| "column 2"),
            Kind::Corrupt,
            &format!("column 2: {chain}"),
        );
        check(
            outer().fatal_with(|| "open"),
            Kind::Fatal,
            &format!("open: {chain}"),
        );
        check(None.corrupt_with(|| "no user"), Kind::Corrupt, "no user");
        check(None.retry_with(|| "no reply"), Kind::Retry, "no reply");
        check(None.corrupt(), Kind::Corrupt, "something is missing");
        check(Err(corrupt!("{} columns", 3)), Kind::Corrupt, "3 columns");
        check(Err(retry!("busy")), Kind::Retry, "busy");
        check(Err(fatal!("quota")), Kind::Fatal, "quota");
    }

    #[test]
    fn blame_can_be_moved() {
        let result: Result<()> = Err(retry!("busy"));
        check(result.corrupt(), Kind::Corrupt, "busy");
    }

    #[test]
    fn a_cause_that_the_message_tells_is_not_told_twice() {
        #[derive(Debug)]
        struct Told(std::num::ParseIntError);
        impl Display for Told {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "bad: {}", self.0)
            }
        }
        impl std::error::Error for Told {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::from("x".parse::<i64>().map_err(Told).unwrap_err());
        assert_eq!(error.reason(), "bad: invalid digit found in string");
    }

    #[test]
    fn a_remainder_belongs_to_a_retry() {
        let fault = Error::retry_rest("b,c", "a is done").into_fault(7).unwrap();
        assert_eq!((fault.line, fault.kind), (7, FaultKind::Retry));
        assert_eq!(fault.remainder.as_deref(), Some(&b"b,c"[..]));
        let error = Error::retry_rest("b,c", "a is done").with_kind(Kind::Corrupt);
        assert_eq!(error.remainder(), None);
    }

    #[test]
    fn fatal_is_the_fault_of_no_line() {
        let error = fatal!("quota").into_fault(0).unwrap_err();
        assert!(matches!(error.into_failure(), Failure::Fatal(reason) if reason == "quota"));
    }
}
