use std::rc::Rc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::json::{FromJson, ToJson, Value, Writer};
use crate::tickets::Desk;
use crate::types_gen::*;

/// The values of the run, and what a task keeps for itself.
///
/// Keys that begin with scratch/ are written at once and kept for later
/// attempts; other names must stand in the manifest, and those that it provides
/// become visible, all at once, when the task succeeds.
#[derive(Clone)]
pub struct KV(pub(crate) Rc<Desk>);

/// The values of the task's library. They outlive the run, and other runs may
/// write them at the same time: compare and set with versions.
#[derive(Clone)]
pub struct Library(Rc<Desk>);

/// What [`Library::put_with`] takes besides name and value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PutOptions {
    /// Write only when the key has this version, 0 meaning that it is not
    /// there; else the error has code conflict.
    pub if_version: Option<i64>,
    /// Forget the value after so long, in whole seconds, rounded up. Default:
    /// never.
    pub forget_after: Option<Duration>,
}

impl KV {
    /// Reads the value with this name. Codes: not_found when it is not there,
    /// not_granted when the manifest does not require or list it.
    pub fn get<T: FromJson>(&self, name: &str) -> Result<T> {
        get(&self.0, None, name).map(|(v, _)| v)
    }

    /// Writes a value.
    pub fn put<T: ToJson + ?Sized>(&self, name: &str, value: &T) -> Result {
        put(&self.0, None, name, &value, PutOptions::default()).map(|_| ())
    }

    /// Removes a key that the task may write.
    pub fn delete(&self, name: &str) -> Result {
        delete(&self.0, None, name, None)
    }

    /// Lists the keys that the task may read and that begin with prefix, sorted
    /// by name.
    pub fn list(&self, prefix: &str) -> Result<Vec<KVEntry>> {
        list(&self.0, None, prefix)
    }

    /// The values of the task's library, which outlive the run.
    pub fn library(&self) -> Library {
        Library(self.0.clone())
    }
}

impl Library {
    /// Reads the value with this name, and its version. Code not_found when it
    /// is not there.
    pub fn get<T: FromJson>(&self, name: &str) -> Result<(T, i64)> {
        get(&self.0, LIBRARY, name)
    }

    /// Writes a value and gives its version.
    pub fn put<T: ToJson + ?Sized>(&self, name: &str, value: &T) -> Result<i64> {
        self.put_with(name, value, PutOptions::default())
    }

    /// Writes a value under conditions and gives its version.
    pub fn put_with<T: ToJson + ?Sized>(&self, name: &str, value: &T, options: PutOptions) -> Result<i64> {
        put(&self.0, LIBRARY, name, &value, options)
    }

    /// Removes a value, whatever its version.
    pub fn delete(&self, name: &str) -> Result {
        delete(&self.0, LIBRARY, name, None)
    }

    /// Removes a value when it has this version; else the error has code
    /// conflict.
    pub fn delete_version(&self, name: &str, version: i64) -> Result {
        delete(&self.0, LIBRARY, name, Some(version))
    }

    /// Lists the keys that begin with prefix, sorted by name.
    pub fn list(&self, prefix: &str) -> Result<Vec<KVEntry>> {
        list(&self.0, LIBRARY, prefix)
    }
}

const LIBRARY: Option<&str> = Some("library");

fn get<T: FromJson>(desk: &Desk, scope: Option<&str>, name: &str) -> Result<(T, i64)> {
    let req = KVGetRequest { scope: scope.map(String::from), name: name.to_string() };
    let a: KVGetAnswer = desk.do_now("kv.get", &req)?;
    match T::from_json(a.value) {
        Ok(v) => Ok((v, a.version.unwrap_or(0))),
        Err(e) => Err(Error::Failed(format!("value {}: {}", name, e))),
    }
}

/// A request of kv.put whose value is written where it stands.
struct Put<'a> {
    scope: Option<&'a str>,
    name: &'a str,
    value: &'a dyn ToJson,
    options: PutOptions,
}

impl ToJson for Put<'_> {
    fn write_json(&self, out: &mut String) {
        let mut w = Writer::new(out);
        w.optional("scope", &self.scope);
        w.field("name", self.name);
        w.field("value", self.value);
        w.optional("if_version", &self.options.if_version);
        let seconds = |d: Duration| d.as_secs() + u64::from(d.subsec_nanos() > 0);
        w.optional("ttl_s", &self.options.forget_after.map(seconds));
        w.end();
    }
}

fn put(desk: &Desk, scope: Option<&str>, name: &str, value: &dyn ToJson, options: PutOptions) -> Result<i64> {
    let a: KVPutAnswer = desk.do_now("kv.put", &Put { scope, name, value, options })?;
    Ok(a.version)
}

fn delete(desk: &Desk, scope: Option<&str>, name: &str, if_version: Option<i64>) -> Result {
    let req = KVDeleteRequest { scope: scope.map(String::from), name: name.to_string(), if_version };
    desk.do_now::<Value>("kv.delete", &req).map(|_| ())
}

fn list(desk: &Desk, scope: Option<&str>, prefix: &str) -> Result<Vec<KVEntry>> {
    let prefix = Some(prefix.to_string()).filter(|p| !p.is_empty());
    let a: KVListAnswer = desk.do_now("kv.list", &KVListRequest { scope: scope.map(String::from), prefix })?;
    Ok(a.entries)
}
