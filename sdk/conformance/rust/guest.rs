//! Does what the cases of sdk/conformance tell it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use wasakari::json::{FromJson, ToJson, Value};
use wasakari::*;

wasakari::task! {
    "case" => run, revert run;
    "plain" => run;
}

/// Keeps endless work from being optimised away.
static SPUN: AtomicUsize = AtomicUsize::new(0);

type Object = BTreeMap<String, Value>;

async fn run(t: Task) -> Result {
    let steps: Value = t.input("steps")?;
    let (results, end) = steps_of(t.clone(), steps).await;
    let (results, last) = (results.0, results.1);
    if !results.is_empty() {
        t.kv().put("results", &results)?;
    }
    let reason = text(&end, "reason");
    match text(&end, "outcome").as_str() {
        "fail" => fail(reason),
        "nothing" => nothing(reason),
        "ignore" => ignore(reason),
        "panic" => panic!("{}", reason),
        "error" => last.map_or(Ok(()), Err),
        _ => Ok(()),
    }
}

fn text(step: &Value, key: &str) -> String {
    step.get(key).as_str().unwrap_or("").to_string()
}

fn ms(step: &Value, key: &str) -> Option<Duration> {
    step.get(key).as_i64().map(|n| Duration::from_millis(n as u64))
}

/// The results of steps, and the last refusal among them.
type Results = (Vec<Value>, Option<Error>);

/// Does steps in order; gives their results, and the step that ends the task.
fn steps_of(t: Task, steps: Value) -> Pin<Box<dyn Future<Output = (Results, Value)>>> {
    Box::pin(async move {
        let mut results = (Vec::new(), None);
        for s in steps.items() {
            if text(s, "do") == "end" {
                return (results, s.clone());
            }
            let result = step(&t, s, &mut results.1).await;
            results.0.push(result);
        }
        (results, Value::Null)
    })
}

async fn step(t: &Task, s: &Value, last: &mut Option<Error>) -> Value {
    let (group, name) = (text(s, "group"), text(s, "name"));
    match text(s, "do").as_str() {
        "who" => object! {
            "key" => t.key(), "flow" => t.flow(), "phase" => t.phase(), "run_id" => t.run_id(),
            "notification_uuid" => t.notification_uuid(), "attempt" => t.attempt(), "round" => t.round(),
            "idempotency_key" => t.idempotency_key(), "reverting" => t.reverting(), "failure" => t.failure(),
            "inputs" => t.inputs(),
        },
        "input" => result(t.input::<Value>(&name), last),
        "option" => result(t.option::<Value>(&group, &name), last),
        "secret" => {
            let prefix = text(s, "prefix");
            let secret = t.secret(&group, &name);
            result(Ok(secret.map(|h| if prefix.is_empty() { h } else { h.with_prefix(prefix) })), last)
        }
        "call" => {
            let call = call(t, s);
            let answer = match ms(s, "timeout_ms") {
                Some(d) => t.timeout(d, call).await,
                None => call.await,
            };
            result(answer, last)
        }
        "open" => {
            Once(call(t, s)).await;
            Value::Null
        }
        "sleep" => {
            t.sleep(ms(s, "ms").unwrap_or_default()).await;
            Value::Null
        }
        "log" => {
            let message = text(s, "message");
            match text(s, "level").as_str() {
                "debug" => t.log().debug(message),
                "warn" => t.log().warn(message),
                "error" => t.log().error(message),
                _ => t.log().info(message),
            }
            Value::Null
        }
        "progress" => {
            t.progress(s.get("permille").as_i64().unwrap_or(0) as i32, text(s, "message"));
            Value::Null
        }
        "parallel" => {
            let branches = s.get("branches").items().iter();
            let done = parallel(branches.map(|b| steps_of(t.clone(), b.clone()))).await;
            Value::Array(done.into_iter().map(|((results, _), _)| Value::Array(results)).collect())
        }
        "spin" => loop {
            SPUN.fetch_add(1, Ordering::Relaxed);
        },
        "allocate" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; 1 << 20]);
                SPUN.store(all.as_ptr() as usize, Ordering::Relaxed);
            }
        }
        other => panic!("step {}", other),
    }
}

/// `{"answer": …}`, `{"error": …}` or `{"gave_up": true}`.
fn result<A: ToJson>(r: Result<A>, last: &mut Option<Error>) -> Value {
    let e = match r {
        Ok(a) => return object! { "answer" => a },
        Err(e) => e,
    };
    let result = match &e {
        Error::TimedOut => object! { "gave_up" => true },
        Error::Op(o) => object! { "error" => object! {
            "code" => o.code.as_str(), "message" => o.message, "status" => o.status, "request_id" => o.request_id,
        } },
        e => object! { "error" => object! { "code" => "other", "message" => e.to_string() } },
    };
    *last = Some(e);
    result
}

/// Polls a future once and leaves it as it is.
struct Once(Pin<Box<dyn Future<Output = Result<Value>>>>);

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _ = self.0.as_mut().poll(cx);
        let begun = std::mem::replace(&mut self.0, Box::pin(async { Ok(Value::Null) }));
        std::mem::forget(begun);
        Poll::Ready(())
    }
}

/// Does an op by the method for it.
fn call(t: &Task, s: &Value) -> Pin<Box<dyn Future<Output = Result<Value>>>> {
    let (nova, ha, http, kv) = (t.nova(), t.ha(), t.http(), t.kv());
    let req = s.get("request").clone();
    macro_rules! ops {
        (later: $($name:literal $group:ident.$verb:ident,)* now: $($now:literal $f:expr,)*) => {
            match text(s, "op").as_str() {
                $($name => match FromJson::from_json(req) {
                    Ok(req) => {
                        let call = $group.$verb(&req);
                        Box::pin(async move { call.await.map(|a| Value::of(&a)) })
                    }
                    Err(e) => Box::pin(async move { Err(e.into()) }),
                },)*
                $($now => {
                    let f: Box<dyn Fn(&Value) -> Result<Value>> = Box::new($f);
                    let r = f(&req);
                    Box::pin(async move { r })
                })*
                op => panic!("op {} is new to this guest", op),
            }
        };
    }
    ops! {
        later:
        "nova.server_get" nova.server_get,
        "nova.server_list" nova.server_list,
        "nova.server_evacuate" nova.server_evacuate,
        "nova.server_stop" nova.server_stop,
        "nova.server_start" nova.server_start,
        "nova.server_reboot" nova.server_reboot,
        "nova.server_lock" nova.server_lock,
        "nova.server_unlock" nova.server_unlock,
        "nova.server_reset_state" nova.server_reset_state,
        "nova.server_migrate" nova.server_migrate,
        "nova.server_live_migrate" nova.server_live_migrate,
        "nova.server_wait" nova.server_wait,
        "nova.service_list" nova.service_list,
        "nova.service_disable" nova.service_disable,
        "nova.service_enable" nova.service_enable,
        "nova.service_force_down" nova.service_force_down,
        "nova.service_wait" nova.service_wait,
        "nova.aggregate_list" nova.aggregate_list,
        "nova.aggregate_add_host" nova.aggregate_add_host,
        "nova.aggregate_remove_host" nova.aggregate_remove_host,
        "nova.hypervisor_list" nova.hypervisor_list,
        "nova.migration_list" nova.migration_list,
        "http.request" http.request,
        now:
        "ha.segment_get" |_| of(ha.segment_get()),
        "ha.host_list" |r| of(ha.host_list(&r.to()?)),
        "ha.host_update" |r| of(ha.host_update(&r.to()?)),
        "ha.vmove_list" |r| of(ha.vmove_list(&r.to()?)),
        "ha.vmove_put" |r| of(ha.vmove_put(&r.to()?)),
        "kv.get" |r| kv_get(&kv, r),
        "kv.put" |r| kv_put(&kv, r),
        "kv.delete" |r| kv_delete(&kv, r),
        "kv.list" |r| kv_list(&kv, r),
    }
}

fn of<A: ToJson>(r: Result<A>) -> Result<Value> {
    r.map(|a| Value::of(&a))
}

fn library(r: &Value) -> bool {
    text(r, "scope") == "library"
}

fn kv_get(kv: &KV, r: &Value) -> Result<Value> {
    let name = text(r, "name");
    if !library(r) {
        return Ok(object! { "value" => kv.get::<Value>(&name)? });
    }
    let (value, version) = kv.library().get::<Value>(&name)?;
    Ok(object! { "value" => value, "version" => version })
}

fn kv_put(kv: &KV, r: &Value) -> Result<Value> {
    let (name, value) = (text(r, "name"), r.get("value"));
    if !library(r) {
        kv.put(&name, value)?;
        return Ok(Value::Object(Object::new()));
    }
    let forget_after = r.get("ttl_s").as_i64().map(|s| Duration::from_secs(s as u64));
    let options = PutOptions { if_version: r.get("if_version").as_i64(), forget_after };
    Ok(object! { "version" => kv.library().put_with(&name, value, options)? })
}

fn kv_delete(kv: &KV, r: &Value) -> Result<Value> {
    let name = text(r, "name");
    match r.get("if_version").as_i64() {
        _ if !library(r) => kv.delete(&name)?,
        Some(version) => kv.library().delete_version(&name, version)?,
        None => kv.library().delete(&name)?,
    }
    Ok(Value::Object(Object::new()))
}

fn kv_list(kv: &KV, r: &Value) -> Result<Value> {
    let prefix = text(r, "prefix");
    let entries = if library(r) { kv.library().list(&prefix)? } else { kv.list(&prefix)? };
    Ok(object! { "entries" => entries })
}
