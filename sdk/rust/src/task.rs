use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::error::{Error, OpError, Result};
use crate::host::Host;
use crate::json::{FromJson, JsonError, ToJson, Value};
use crate::kv::KV;
use crate::tickets::{block_on, Call, Desk, Sleep, Timeout};
use crate::types_gen::*;
use crate::Code;

/// One run of a task: what it was given and what it may ask for.
///
/// Copies of it are the same run.
#[derive(Clone)]
pub struct Task {
    input: Rc<TaskInput>,
    desk: Rc<Desk>,
}

impl Task {
    /// The entry-point key under which the task runs.
    pub fn key(&self) -> &str {
        &self.input.key
    }

    /// The kind of flow: host-auto, host-rh, instance, process or host-repair.
    pub fn flow(&self) -> &str {
        &self.input.flow
    }

    /// pre, main or post.
    pub fn phase(&self) -> &str {
        &self.input.phase
    }

    /// The id of the run.
    pub fn run_id(&self) -> &str {
        &self.input.run_id
    }

    /// The notification that the run is about; may be empty.
    pub fn notification_uuid(&self) -> &str {
        self.input.notification_uuid.as_deref().unwrap_or("")
    }

    /// How often the task was started at this place of the run, from 1; more
    /// than 1 after an interruption.
    pub fn attempt(&self) -> i64 {
        self.input.attempt
    }

    /// Which repetition of main this is, from 1.
    pub fn round(&self) -> i64 {
        self.input.round.unwrap_or(1).max(1)
    }

    /// The same for every attempt at this place of this run. Give it to systems
    /// that drop repeated requests.
    pub fn idempotency_key(&self) -> &str {
        &self.input.idempotency_key
    }

    /// Whether the task is being reverted.
    pub fn reverting(&self) -> bool {
        self.input.reverting.unwrap_or(false)
    }

    /// In a revert, why the flow failed.
    pub fn failure(&self) -> &str {
        self.input.failure.as_deref().unwrap_or("")
    }

    /// The names of the inputs that are there, sorted.
    pub fn inputs(&self) -> Vec<&str> {
        self.input.inputs.keys().map(String::as_str).collect()
    }

    /// Reads an input: a value that the manifest requires or lists as optional.
    /// Code not_found when it is not there.
    pub fn input<T: FromJson>(&self, name: &str) -> Result<T> {
        let what = || format!("input {}", name);
        match self.input.inputs.get(name) {
            Some(v) => v.to().map_err(|e: JsonError| Error::Failed(format!("{}: {}", what(), e))),
            None => Err(missing(what(), "")),
        }
    }

    /// An input that is a string, the JSON of one that is not.
    ///
    /// It panics when it is not there, which fails the task with that reason: an
    /// empty name of a host would mean all hosts. For inputs that are optional
    /// there is input_string_or.
    pub fn input_string(&self, name: &str) -> String {
        match self.input.inputs.get(name) {
            Some(v) => plain(Some(v)),
            None => panic!("input {} is not there: a name that the manifest requires is always there; input_string_or is for an optional one", name),
        }
    }

    /// input_string for an input that may not be there.
    pub fn input_string_or(&self, name: &str, otherwise: &str) -> String {
        match self.input.inputs.get(name) {
            Some(v) => plain(Some(v)),
            None => otherwise.to_string(),
        }
    }

    fn raw_option(&self, group: &str, name: &str) -> Option<&Value> {
        self.input.options.get(group)?.get(name)
    }

    /// Reads an option; None when it is not set. Code not_found when the
    /// manifest does not list it.
    pub fn option<T: FromJson>(&self, group: &str, name: &str) -> Result<Option<T>> {
        let what = || format!("option [{}] {}", group, name);
        match self.raw_option(group, name) {
            Some(Value::Null) => Ok(None),
            Some(v) => v.to().map(Some).map_err(|e: JsonError| Error::Failed(format!("{}: {}", what(), e))),
            None => Err(missing(what(), "the manifest does not list it")),
        }
    }

    /// Whether an option is set or has a default.
    pub fn has_option(&self, group: &str, name: &str) -> bool {
        !matches!(self.raw_option(group, name), None | Some(Value::Null))
    }

    /// An option as text, empty when it is not set.
    pub fn option_string(&self, group: &str, name: &str) -> String {
        plain(self.raw_option(group, name))
    }

    /// An option of type int or seconds, 0 when it is not set.
    ///
    /// It panics, as the methods below do, when the manifest does not list the
    /// option or gives it another type: the module contradicts itself.
    pub fn option_int(&self, group: &str, name: &str) -> i64 {
        self.sure(group, name)
    }

    /// An option of type float, 0 when it is not set.
    pub fn option_float(&self, group: &str, name: &str) -> f64 {
        self.sure(group, name)
    }

    /// An option of type bool, false when it is not set.
    pub fn option_bool(&self, group: &str, name: &str) -> bool {
        self.sure(group, name)
    }

    /// An option of type list, empty when it is not set.
    pub fn option_list(&self, group: &str, name: &str) -> Vec<String> {
        self.sure(group, name)
    }

    /// An option that counts seconds, of type seconds, int or float, 0 when it
    /// is not set.
    pub fn option_duration(&self, group: &str, name: &str) -> Duration {
        Duration::from_secs_f64(self.option_float(group, name).max(0.0))
    }

    fn sure<T: FromJson + Default>(&self, group: &str, name: &str) -> T {
        match self.option(group, name) {
            Ok(v) => v.unwrap_or_default(),
            Err(e) => panic!("{}", e),
        }
    }

    /// The handle of an option that is a secret: the task names it where its
    /// value belongs and never sees it. None when the option is not set.
    pub fn secret(&self, group: &str, name: &str) -> Option<Secret> {
        match self.option(group, name) {
            Ok(v) => v,
            Err(e) => panic!("{}", e),
        }
    }

    /// The values of the run: how outputs pass from task to task.
    pub fn kv(&self) -> KV {
        KV(self.desk.clone())
    }

    /// The ops on the cloud's servers and services.
    pub fn nova(&self) -> Nova {
        Nova(self.desk.clone())
    }

    /// The ops on Masakari's own records.
    pub fn ha(&self) -> HA {
        HA(self.desk.clone())
    }

    /// The op that sends requests.
    pub fn http(&self) -> Http {
        Http(self.desk.clone())
    }

    /// The log of the task.
    pub fn log(&self) -> Log {
        Log(self.desk.clone())
    }

    /// Tells how far the task is, from 0 to 1000, and what it is doing.
    pub fn progress(&self, permille: i32, message: impl AsRef<str>) {
        self.desk.host().progress(permille.clamp(0, 1000), message.as_ref());
    }

    /// Sleeps.
    pub fn sleep(&self, d: Duration) -> Sleep {
        Sleep::new(&self.desk, d)
    }

    /// Does a future for at most so long, and gives it up then with
    /// [`Error::TimedOut`]: a read ends, a change goes on.
    pub fn timeout<T, F: Future<Output = Result<T>>>(&self, d: Duration, future: F) -> Timeout<F> {
        // The least sleep is not none.
        let d = d.max(Duration::from_nanos(1));
        Timeout { sleep: self.sleep(d), future: Some(Box::pin(future)) }
    }
}

fn missing(what: String, why: &str) -> Error {
    Error::Op(OpError { op: what, ..OpError::new(Code::NotFound, why) })
}

fn plain(v: Option<&Value>) -> String {
    match v {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(s)) => s.clone(),
        Some(v) => v.to_json(),
    }
}

/// A method for each op of group nova.
#[derive(Clone)]
pub struct Nova(pub(crate) Rc<Desk>);

/// A method for each op of group ha.
#[derive(Clone)]
pub struct HA(pub(crate) Rc<Desk>);

/// A method for each op of group http.
#[derive(Clone)]
pub struct Http(pub(crate) Rc<Desk>);

/// Writes log lines.
#[derive(Clone)]
pub struct Log(Rc<Desk>);

impl Log {
    /// Logs at level debug.
    pub fn debug(&self, message: impl AsRef<str>) {
        self.0.host().log(0, message.as_ref());
    }

    /// Logs at level info.
    pub fn info(&self, message: impl AsRef<str>) {
        self.0.host().log(1, message.as_ref());
    }

    /// Logs at level warn.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.0.host().log(2, message.as_ref());
    }

    /// Logs at level error.
    pub fn error(&self, message: impl AsRef<str>) {
        self.0.host().log(3, message.as_ref());
    }
}

impl Secret {
    /// The secret with text before its value, such as "Bearer ". It is for
    /// headers only.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Secret {
        self.prefix = Some(prefix.into());
        self
    }
}

/// What a request may hold in the place of a string: a string, or the handle of
/// a secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    Plain(String),
    Secret(Secret),
}

impl Default for Text {
    fn default() -> Text {
        Text::Plain(String::new())
    }
}

impl From<&str> for Text {
    fn from(s: &str) -> Text {
        Text::Plain(s.to_string())
    }
}

impl From<String> for Text {
    fn from(s: String) -> Text {
        Text::Plain(s)
    }
}

impl From<Secret> for Text {
    fn from(s: Secret) -> Text {
        Text::Secret(s)
    }
}

impl ToJson for Text {
    fn write_json(&self, out: &mut String) {
        match self {
            Text::Plain(s) => s.write_json(out),
            Text::Secret(s) => s.write_json(out),
        }
    }
}

impl FromJson for Text {
    fn from_json(v: Value) -> Result<Text, JsonError> {
        match v {
            Value::String(s) => Ok(Text::Plain(s)),
            v => Secret::from_json(v).map(Text::Secret),
        }
    }
}

/// Makes a map of headers, or of anything by name.
pub fn map<V>(pairs: impl IntoIterator<Item = (&'static str, V)>) -> BTreeMap<String, V> {
    pairs.into_iter().map(|(k, v)| (k.to_string(), v)).collect()
}

/// A task of the module; [`task!`](crate::task) makes them.
#[derive(Clone, Copy)]
pub struct Handler {
    pub key: &'static str,
    pub run: Function,
    pub revert: Option<Function>,
}

/// What runs or reverts a task.
pub type Function = fn(Task) -> Pin<Box<dyn Future<Output = Result>>>;

/// Registers the tasks of a module under their entry-point keys:
///
/// ```
/// use wasakari::{Result, Task};
///
/// async fn fence(t: Task) -> Result {
///     t.log().info(format!("host {} failed", t.input_string("host_name")));
///     Ok(())
/// }
///
/// async fn unfence(_: Task) -> Result {
///     Ok(())
/// }
///
/// async fn open_ticket(t: Task) -> Result {
///     t.kv().put("ticket_id", "ops-1")
/// }
///
/// wasakari::task! {
///     "fence" => fence, revert unfence;
///     "open_ticket" => open_ticket;
/// }
/// # fn main() {}
/// ```
///
/// It stands once in a module, makes the exports run and revert, and a function
/// tasks for the tests. A task without revert has nothing to undo.
#[macro_export]
macro_rules! task {
    ($($key:literal => $run:path $(, revert $undo:path)?);+ $(;)?) => {
        #[doc = "The tasks of this module."]
        pub fn tasks() -> ::std::vec::Vec<$crate::Handler> {
            ::std::vec![$($crate::Handler {
                key: $key,
                run: |t| ::std::boxed::Box::pin($run(t)),
                revert: $crate::task!(@revert $($undo)?),
            }),+]
        }

        #[cfg(target_arch = "wasm32")]
        mod wasakari_exports {
            #[no_mangle]
            pub extern "C" fn run() -> i32 {
                $crate::run_guest(&super::tasks(), false)
            }

            #[no_mangle]
            pub extern "C" fn revert() -> i32 {
                $crate::run_guest(&super::tasks(), true)
            }
        }
    };
    (@revert) => { ::std::option::Option::None };
    (@revert $undo:path) => { ::std::option::Option::Some(|t| ::std::boxed::Box::pin($undo(t))) };
}

/// What the exports do.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub fn run_guest(handlers: &[Handler], revert: bool) -> i32 {
    // A panic ends in a trap, with which the host shows what was written before.
    std::panic::set_hook(Box::new(|p| crate::host::wasm::stderr(&format!("{}\n", p))));
    run_task(Box::new(crate::host::wasm::Imports), handlers, revert)
}

/// Asks who the task is, does it, leaves the reason and gives what the exports
/// return.
pub(crate) fn run_task(host: Box<dyn Host>, handlers: &[Handler], revert: bool) -> i32 {
    let desk = Desk::new(host);
    let (exit, reason) = match dispatch(&desk, handlers, revert) {
        Ok(()) => return 0,
        Err(Error::Nothing(reason)) => (2, reason),
        Err(Error::Ignored(reason)) => (3, reason),
        Err(e) => (1, e.to_string()),
    };
    if !reason.is_empty() {
        // Nothing is left to do about an error here.
        let _ = desk.do_now::<Value>("task.reason", &TaskReasonRequest { reason });
    }
    exit
}

fn dispatch(desk: &Rc<Desk>, handlers: &[Handler], revert: bool) -> Result {
    let input: TaskInput = desk.do_now("task.input", &TaskInputRequest {})?;
    let handler = match handlers.iter().find(|h| h.key == input.key) {
        Some(h) => h,
        None => {
            let known: Vec<&str> = handlers.iter().map(|h| h.key).collect();
            let known = known.join(", ");
            return crate::fail(format!("task {}: the module has no handler for it, only for: {}", input.key, known));
        }
    };
    let function = match (revert, handler.revert) {
        (false, _) => handler.run,
        (true, Some(f)) => f,
        (true, None) => return crate::nothing(""),
    };
    let task = Task { input: Rc::new(input), desk: desk.clone() };
    block_on(desk, function(task))
}

/// Ops are begun through this.
impl Task {
    /// Does any op that takes a ticket by its name, with the JSON of the
    /// request. The methods of the groups are better: they know the documents.
    pub fn call(&self, op: &'static str, req: &Value) -> Call<Value> {
        self.desk.begin(op, req)
    }
}
