use std::fmt;

use crate::Code;

/// What an op's refusal says, the host's or Nova's.
#[derive(Clone, Debug, PartialEq)]
pub struct OpError {
    /// The op, such as nova.server_evacuate.
    pub op: String,
    /// What it is about.
    pub code: Code,
    /// The reason, for a person.
    pub message: String,
    /// HTTP status of Nova's answer; 0 when the error is not Nova's or no answer came.
    pub status: i64,
    /// Nova's request id; may be empty.
    pub request_id: String,
}

impl OpError {
    /// Makes a refusal, for tests: the code and the reason.
    pub fn new(code: Code, message: impl Into<String>) -> OpError {
        OpError { op: String::new(), code, message: message.into(), status: 0, request_id: String::new() }
    }
}

/// Op, code, reason, and what Nova said.
impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.op.is_empty() {
            write!(f, "{}: ", self.op)?;
        }
        f.write_str(&self.code.as_str().replace('_', " "))?;
        // The host's reasons name the op as well.
        let named = self.message.strip_prefix(self.op.as_str()).and_then(|m| m.strip_prefix(": "));
        match named.unwrap_or(&self.message) {
            "" => {}
            reason => write!(f, ": {}", reason)?,
        }
        match (self.status, self.request_id.as_str()) {
            (0, "") => Ok(()),
            (0, id) => write!(f, " ({})", id),
            (status, "") => write!(f, " (HTTP {})", status),
            (status, id) => write!(f, " (HTTP {}, {})", status, id),
        }
    }
}

/// Why a task or a call ends otherwise than well.
///
/// Any `std::error::Error` becomes one with `?`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An op was refused.
    Op(OpError),
    /// The time given with [`Task::timeout`](crate::Task::timeout) is over.
    TimedOut,
    /// The task has nothing to do: the flow ends, well.
    Nothing(String),
    /// The flow ends, the notification becomes ignored.
    Ignored(String),
    /// The task failed, for any other reason.
    Failed(String),
}

/// What tasks and calls give.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

impl Error {
    /// The code of a refused op.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Op(e) => Some(e.code),
            _ => None,
        }
    }

    /// Whether it is the refusal of an op with this code.
    pub fn is(&self, code: Code) -> bool {
        self.code() == Some(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Op(e) => e.fmt(f),
            Error::TimedOut => f.write_str("timed out"),
            Error::Nothing(s) | Error::Ignored(s) | Error::Failed(s) => f.write_str(s),
        }
    }
}

impl From<OpError> for Error {
    fn from(e: OpError) -> Error {
        Error::Op(e)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(e: E) -> Error {
        Error::Failed(e.to_string())
    }
}

/// Ends the task, and the flow, as failed: `return fail("no host left")`.
pub fn fail<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Failed(reason.into()))
}

/// Ends the whole flow, well: the recovery is not needed.
pub fn nothing<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Nothing(reason.into()))
}

/// Ends the flow, and leaves the notification ignored.
pub fn ignore<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Ignored(reason.into()))
}
