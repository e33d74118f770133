use serde::{de::DeserializeOwned, Serialize};

use crate::json::{FromJson, JsonError, ToJson, Value};

/// A value of any type that serde knows, in inputs, options and KV:
///
/// ```
/// # use wasakari::{Result, Serde, Task};
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Ticket {
///     id: u64,
/// }
///
/// # async fn task(t: Task) -> Result {
/// let Serde(ticket) = t.input::<Serde<Ticket>>("ticket")?;
/// t.kv().put("next", &Serde(Ticket { id: ticket.id + 1 }))?;
/// # Ok(())
/// # }
/// ```
///
/// A value that serde cannot write is null.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Serde<T>(pub T);

impl<T: Serialize> ToJson for Serde<T> {
    fn write_json(&self, out: &mut String) {
        match serde_json::to_string(&self.0) {
            Ok(s) => out.push_str(&s),
            Err(_) => out.push_str("null"),
        }
    }
}

impl<T: DeserializeOwned> FromJson for Serde<T> {
    fn from_json(v: Value) -> Result<Self, JsonError> {
        serde_json::from_str(&v.to_json()).map(Serde).map_err(|e| JsonError::new(e.to_string()))
    }
}
