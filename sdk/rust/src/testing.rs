//! Runs tasks off wasm, against a fake host, for unit tests of tasks. It checks
//! no manifest and no grants.
//!
//! ```
//! # use wasakari::{Result, Task};
//! # async fn stop(t: Task) -> Result {
//! #     t.nova().server_stop(&wasakari::NovaServerStopRequest { id: t.input("server")? }).await?;
//! #     Ok(())
//! # }
//! # wasakari::task! { "stop" => stop }
//! use wasakari::testing::{Fake, Outcome};
//!
//! let fake = Fake::new().input("server", "7f3").answer("nova.server_stop", |_: wasakari::NovaServerStopRequest| {
//!     Ok(wasakari::NovaServerStopAnswer::default())
//! });
//! let result = fake.run(&tasks(), "stop");
//! assert_eq!(result.outcome, Outcome::Succeeded);
//! assert_eq!(result.ops(), ["nova.server_stop"]);
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::error::OpError;
use crate::host::Host;
use crate::json::{FromJson, ToJson, Value};
use crate::types_gen::*;
use crate::{Code, Handler};

/// What a task is given and what answers it.
///
/// A new one serves the groups task and kv, keeping values in memory, and
/// refuses every other op as not_granted; [`Fake::on`] and [`Fake::answer`]
/// script those. Sleeping takes no time: the task's clock goes forward instead.
/// It may be used for several runs, one after the other: values stay.
pub struct Fake {
    flow: String,
    phase: String,
    attempt: i64,
    failure: String,
    inputs: BTreeMap<String, Value>,
    options: BTreeMap<String, BTreeMap<String, Value>>,
    handlers: BTreeMap<String, Answer>,
    tickets: usize,
    state: Rc<RefCell<State>>,
}

/// None: the op never ends.
type Answer = Rc<dyn Fn(&Value) -> Option<Result<String, OpError>>>;

/// What changes while a task runs.
#[derive(Default)]
struct State {
    run: BTreeMap<String, (Value, i64)>,
    library: BTreeMap<String, (Value, i64)>,
    calls: Vec<(String, Value)>,
    logs: Vec<String>,
    progress: Vec<(i32, String)>,
    reason: String,
    now: u64,
    kept: Option<Vec<u8>>,
    last: i64,
    open: Vec<i64>,
    done: VecDeque<(i64, Result<String, OpError>)>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Failed,
    NothingToDo,
    Ignored,
}

/// What a run left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcomes {
    pub outcome: Outcome,
    pub reason: String,
    /// Op and request of all calls but those of group task, as they began.
    pub calls: Vec<(String, Value)>,
    /// Level and message, such as "info host c1 failed".
    pub logs: Vec<String>,
    /// Permille and message.
    pub progress: Vec<(i32, String)>,
    /// The values of the run that are there now.
    pub values: BTreeMap<String, Value>,
    /// The tickets that the task left open, which the host takes for a failure.
    pub open: usize,
}

impl Outcomes {
    /// The names of the ops that the task asked for, but those of group task.
    pub fn ops(&self) -> Vec<&str> {
        self.calls.iter().map(|(op, _)| op.as_str()).collect()
    }

    /// A value of the run; null when it is not there.
    pub fn value(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or(&Value::Null)
    }
}

impl Default for Fake {
    fn default() -> Fake {
        Fake::new()
    }
}

impl Fake {
    /// A host for phase main of flow host-auto, without inputs and options.
    pub fn new() -> Fake {
        Fake {
            flow: "host-auto".to_string(),
            phase: "main".to_string(),
            attempt: 1,
            failure: String::new(),
            inputs: BTreeMap::new(),
            options: BTreeMap::new(),
            handlers: BTreeMap::new(),
            tickets: 64,
            state: Rc::default(),
        }
    }

    /// Sets the kind of flow, and the phase.
    pub fn flow(mut self, flow: &str, phase: &str) -> Fake {
        self.flow = flow.to_string();
        self.phase = phase.to_string();
        self
    }

    /// Sets how often the task was started.
    pub fn attempt(mut self, attempt: i64) -> Fake {
        self.attempt = attempt;
        self
    }

    /// Sets, for [`Fake::revert`], why the flow failed.
    pub fn failure(mut self, why: &str) -> Fake {
        self.failure = why.to_string();
        self
    }

    /// Sets how many calls the task may have open. Default: 64.
    pub fn tickets(mut self, n: usize) -> Fake {
        self.tickets = n;
        self
    }

    /// Gives the task an input.
    pub fn input(mut self, name: &str, v: impl ToJson) -> Fake {
        self.inputs.insert(name.to_string(), Value::of(&v));
        self
    }

    /// Gives the task an option; `Value::Null` is one that is not set.
    pub fn option(mut self, group: &str, name: &str, v: impl ToJson) -> Fake {
        self.options.entry(group.to_string()).or_default().insert(name.to_string(), Value::of(&v));
        self
    }

    /// Gives the task an option that is a secret.
    pub fn secret(self, group: &str, name: &str) -> Fake {
        let handle = Secret { name: format!("{}.{}", group, name), ..Default::default() };
        self.option(group, name, handle)
    }

    /// Puts a value of the run before the task starts.
    pub fn value(self, name: &str, v: impl ToJson) -> Fake {
        self.state.borrow_mut().run.insert(name.to_string(), (Value::of(&v), 1));
        self
    }

    /// Puts a value of the library before the task starts.
    pub fn library(self, name: &str, v: impl ToJson) -> Fake {
        self.state.borrow_mut().library.insert(name.to_string(), (Value::of(&v), 1));
        self
    }

    /// A value of the library; null when it is not there.
    pub fn library_value(&self, name: &str) -> Value {
        self.state.borrow().library.get(name).map_or(Value::Null, |(v, _)| v.clone())
    }

    /// Scripts an op with a function over values.
    pub fn on(mut self, op: &str, f: impl Fn(&Value) -> Result<Value, OpError> + 'static) -> Fake {
        self.handlers.insert(op.to_string(), Rc::new(move |req| Some(f(req).map(|a| a.to_json()))));
        self
    }

    /// Scripts an op with a function over its documents. A request that does
    /// not fit is refused as invalid.
    pub fn answer<Q: FromJson, A: ToJson>(self, op: &str, f: impl Fn(Q) -> Result<A, OpError> + 'static) -> Fake {
        self.on(op, move |req| {
            let req = req.to().map_err(|e| OpError::new(Code::Invalid, e.to_string()))?;
            f(req).map(|a| Value::of(&a))
        })
    }

    /// Scripts an op that does not end by itself.
    pub fn never(mut self, op: &str) -> Fake {
        self.handlers.insert(op.to_string(), Rc::new(|_| None));
        self
    }

    /// Runs the task with this key.
    pub fn run(&self, tasks: &[Handler], key: &str) -> Outcomes {
        self.start(tasks, key, false)
    }

    /// Reverts the task with this key.
    pub fn revert(&self, tasks: &[Handler], key: &str) -> Outcomes {
        self.start(tasks, key, true)
    }

    fn start(&self, tasks: &[Handler], key: &str, revert: bool) -> Outcomes {
        {
            let mut s = self.state.borrow_mut();
            let (run, library) = (std::mem::take(&mut s.run), std::mem::take(&mut s.library));
            *s = State { run, library, ..State::default() };
        }
        let input = TaskInput {
            key: key.to_string(),
            flow: self.flow.clone(),
            phase: self.phase.clone(),
            run_id: "test-run".to_string(),
            notification_uuid: Some("00000000-0000-4000-8000-000000000001".to_string()),
            attempt: self.attempt,
            round: Some(1),
            idempotency_key: format!("test-run/{}", key),
            reverting: Some(revert),
            failure: Some(self.failure.clone()),
            inputs: self.inputs.clone(),
            options: self.options.clone(),
        };
        let host = FakeHost { input, handlers: self.handlers.clone(), tickets: self.tickets, state: self.state.clone() };
        let exit = crate::task::run_task(Box::new(host), tasks, revert);
        let s = self.state.borrow();
        Outcomes {
            outcome: match exit {
                0 => Outcome::Succeeded,
                2 => Outcome::NothingToDo,
                3 => Outcome::Ignored,
                _ => Outcome::Failed,
            },
            reason: s.reason.clone(),
            calls: s.calls.clone(),
            logs: s.logs.clone(),
            progress: s.progress.clone(),
            values: s.run.iter().map(|(k, (v, _))| (k.clone(), v.clone())).collect(),
            open: s.open.len(),
        }
    }
}

/// The host of one run.
struct FakeHost {
    input: TaskInput,
    handlers: BTreeMap<String, Answer>,
    tickets: usize,
    state: Rc<RefCell<State>>,
}

impl FakeHost {
    /// Does an op; None when it does not end.
    fn serve(&self, op: &str, req: &str) -> Option<Result<String, OpError>> {
        let req = match Value::parse(req) {
            Ok(v) => v,
            Err(e) => return Some(Err(OpError::new(Code::Invalid, e.to_string()))),
        };
        if !op.starts_with("task.") {
            self.state.borrow_mut().calls.push((op.to_string(), req.clone()));
        }
        match self.handlers.get(op) {
            Some(f) => f(&req),
            None => Some(self.own(op, &req)),
        }
    }

    /// What the fake serves itself.
    fn own(&self, op: &str, req: &Value) -> Result<String, OpError> {
        let mut s = self.state.borrow_mut();
        let name = req.get("name").as_str().unwrap_or("").to_string();
        let inputs = &self.input.inputs;
        let none = || OpError::new(Code::NotFound, format!("there is no value {}", name));
        let scope = req.get("scope").as_str() == Some("library");
        match op {
            "task.input" => return Ok(self.input.to_json()),
            "task.reason" => s.reason = req.get("reason").as_str().unwrap_or("").to_string(),
            "task.sleep" => s.now += req.get("ms").as_i64().unwrap_or(0) as u64 * 1_000_000,
            "task.cancel" => {
                let ticket = req.get("ticket").as_i64().unwrap_or(0);
                if !s.open.contains(&ticket) {
                    return Err(OpError::new(Code::NotFound, "no such ticket"));
                }
                s.done.retain(|(t, _)| *t != ticket);
                s.done.push_back((ticket, Err(OpError::new(Code::Canceled, "canceled"))));
            }
            "kv.get" => {
                let values = if scope { &s.library } else { &s.run };
                let (value, version) = match values.get(&name) {
                    Some((v, n)) => (v.clone(), *n),
                    None if scope => return Err(none()),
                    None => (inputs.get(&name).ok_or_else(none)?.clone(), 1),
                };
                return Ok(KVGetAnswer { value, version: Some(version) }.to_json());
            }
            "kv.put" | "kv.delete" => {
                let values = if scope { &mut s.library } else { &mut s.run };
                let version = values.get(&name).map_or(0, |v| v.1);
                if op == "kv.delete" && version == 0 {
                    return Err(none());
                }
                if req.get("if_version").as_i64().map_or(false, |want| want != version) {
                    return Err(OpError::new(Code::Conflict, format!("value {} has version {}", name, version)));
                }
                if op == "kv.delete" {
                    values.remove(&name);
                } else {
                    values.insert(name, (req.get("value").clone(), version + 1));
                    return Ok(KVPutAnswer { version: version + 1 }.to_json());
                }
            }
            "kv.list" => {
                let prefix = req.get("prefix").as_str().unwrap_or("");
                let values = if scope { &s.library } else { &s.run };
                let entries = values.iter().filter(|(name, _)| name.starts_with(prefix));
                let entries = entries.map(|(name, (v, version))| KVEntry {
                    name: name.clone(),
                    version: *version,
                    size: Some(v.to_json().len() as i64),
                });
                return Ok(KVListAnswer { entries: entries.collect() }.to_json());
            }
            _ => return Err(OpError::new(Code::NotGranted, "the fake host has no handler for it; script it with on or answer")),
        }
        Ok("{}".to_string())
    }

    /// Copies an answer out, or keeps it.
    fn keep(&self, result: Result<String, OpError>, out: &mut [u8]) -> i64 {
        let mut s = self.state.borrow_mut();
        match result {
            Ok(doc) if doc.len() <= out.len() => {
                out[..doc.len()].copy_from_slice(doc.as_bytes());
                s.kept = None;
                doc.len() as i64
            }
            Ok(doc) => {
                let n = doc.len() as i64;
                s.kept = Some(doc.into_bytes());
                n
            }
            Err(e) => {
                let doc = ErrorDocument {
                    code: e.code.as_str().to_string(),
                    message: e.message,
                    status: Some(e.status),
                    request_id: Some(e.request_id),
                };
                s.kept = Some(doc.to_json().into_bytes());
                -e.code.errno()
            }
        }
    }
}

impl Host for FakeHost {
    fn call(&self, op: &str, req: &str, out: &mut [u8]) -> i64 {
        match self.serve(op, req) {
            Some(result) => self.keep(result, out),
            None => self.keep(Err(OpError::new(Code::Timeout, "never ends")), out),
        }
    }

    fn take(&self, out: &mut [u8]) -> i64 {
        let mut s = self.state.borrow_mut();
        let kept = match s.kept.take() {
            Some(doc) => doc,
            None => return -Code::NotFound.errno(),
        };
        let n = kept.len();
        if n <= out.len() {
            out[..n].copy_from_slice(&kept);
        } else {
            s.kept = Some(kept);
        }
        n as i64
    }

    fn submit(&self, op: &str, req: &str) -> i64 {
        if self.state.borrow().open.len() >= self.tickets {
            return -Code::Quota.errno();
        }
        let result = self.serve(op, req);
        let mut s = self.state.borrow_mut();
        s.last += 1;
        let ticket = s.last;
        s.open.push(ticket);
        if let Some(result) = result {
            s.done.push_back((ticket, result));
        }
        ticket
    }

    fn wait(&self, timeout_ms: i32, out: &mut [u8]) -> i64 {
        let next = {
            let mut s = self.state.borrow_mut();
            if s.open.is_empty() {
                return -Code::NotFound.errno();
            }
            let next = s.done.pop_front();
            match &next {
                Some((ticket, _)) => s.open.retain(|t| t != ticket),
                None => s.now += timeout_ms.max(0) as u64 * 1_000_000,
            }
            next
        };
        match next {
            Some((ticket, result)) => match self.keep(result, out) {
                n if n < 0 => ticket << 32 | 1 << 31 | -n,
                n => ticket << 32 | n,
            },
            None if timeout_ms >= 0 => -Code::Timeout.errno(),
            // A real host would stop the task at its deadline.
            None => -Code::Canceled.errno(),
        }
    }

    fn log(&self, level: i32, msg: &str) {
        let level = ["debug", "info", "warn", "error"][level.clamp(0, 3) as usize];
        self.state.borrow_mut().logs.push(format!("{} {}", level, msg));
    }

    fn progress(&self, permille: i32, msg: &str) {
        self.state.borrow_mut().progress.push((permille, msg.to_string()));
    }

    fn now(&self) -> u64 {
        self.state.borrow().now
    }
}
