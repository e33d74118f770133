//! Tasks on a fake host: outcomes, what they are given, KV, and many ops at
//! once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use wasakari::json::Value;
use wasakari::testing::{Fake, Outcome};
use wasakari::*;

wasakari::task! {
    "given" => given, revert undo;
    "outcome" => outcome;
    "values" => values;
    "library" => library;
    "many" => many;
    "give_up" => give_up;
    "give_up_queued" => give_up_queued;
    "clock" => clock;
    "large" => large;
    "refused" => refused;
    "at_a_loss" => at_a_loss;
    "leaves_open" => leaves_open;
    "secrets" => secrets;
}

async fn given(t: Task) -> Result {
    let hosts: Vec<String> = t.input("reserved_host_list")?;
    t.progress(1500, format!("half of {}", hosts.len()));
    t.log().debug("d");
    t.log().info(t.input_string("host_name"));
    t.log().warn(t.input_string("reserved_host_list"));
    t.log().error(t.input_string_or("nowhere", "-") + &t.input_string_or("host_name", "-"));
    assert_eq!(t.input::<String>("nowhere").unwrap_err().to_string(), "input nowhere: not found");
    assert_eq!(t.input::<i64>("host_name").unwrap_err().to_string(), "input host_name: want an integer, got a string");
    assert_eq!(t.option_string("acme", "queue"), "ops");
    assert_eq!(t.option_int("acme", "n"), 42);
    assert_eq!(t.option_float("acme", "f"), 0.25);
    assert!(t.option_bool("acme", "b"));
    assert_eq!(t.option_list("acme", "l"), ["a", "b"]);
    assert_eq!(t.option_duration("acme", "f"), Duration::from_millis(250));
    assert_eq!(t.option_int("acme", "unset"), 0);
    assert_eq!(t.option::<i64>("acme", "unset")?, None);
    assert!(!t.has_option("acme", "unset") && t.has_option("acme", "n"));
    let e = t.option::<i64>("acme", "elsewhere").unwrap_err();
    assert!(e.is(Code::NotFound));
    assert_eq!(e.to_string(), "option [acme] elsewhere: not found: the manifest does not list it");
    assert_eq!((t.key(), t.flow(), t.phase(), t.attempt(), t.round()), ("given", "instance", "post", 3, 1));
    assert_eq!((t.run_id(), t.idempotency_key()), ("test-run", "test-run/given"));
    assert_eq!(t.inputs(), ["host_name", "reserved_host_list"]);
    Ok(())
}

async fn undo(t: Task) -> Result {
    t.log().info(format!("{} {}", t.reverting(), t.failure()));
    Ok(())
}

#[test]
fn what_a_task_is_given() {
    let fake = Fake::new()
        .flow("instance", "post")
        .attempt(3)
        .failure("no host")
        .input("host_name", "c1")
        .input("reserved_host_list", vec!["c4", "c5"])
        .option("acme", "queue", "ops")
        .option("acme", "n", 42)
        .option("acme", "f", 0.25)
        .option("acme", "b", true)
        .option("acme", "l", vec!["a", "b"])
        .option("acme", "unset", Value::Null);
    let r = fake.run(&tasks(), "given");
    assert_eq!((r.outcome, r.reason.as_str()), (Outcome::Succeeded, ""));
    assert_eq!(r.logs, ["debug d", "info c1", r#"warn ["c4","c5"]"#, "error -c1"]);
    assert_eq!(r.progress, [(1000, "half of 2".to_string())]);
    let r = fake.revert(&tasks(), "given");
    assert_eq!((r.outcome, r.logs), (Outcome::Succeeded, vec!["info true no host".to_string()]));
}

async fn outcome(t: Task) -> Result {
    match t.input_string("how").as_str() {
        "fail" => fail("no host left"),
        "nothing" => nothing("all is well"),
        "ignore" => ignore("not ours"),
        "std" => {
            "x".parse::<i64>()?;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[test]
fn outcomes() {
    for (how, want, reason) in [
        ("", Outcome::Succeeded, ""),
        ("fail", Outcome::Failed, "no host left"),
        ("nothing", Outcome::NothingToDo, "all is well"),
        ("ignore", Outcome::Ignored, "not ours"),
        ("std", Outcome::Failed, "invalid digit found in string"),
    ] {
        let r = Fake::new().input("how", how).run(&tasks(), "outcome");
        assert_eq!((r.outcome, r.reason.as_str()), (want, reason), "{}", how);
    }
    let r = Fake::new().revert(&tasks(), "outcome");
    assert_eq!((r.outcome, r.reason.as_str()), (Outcome::NothingToDo, ""));
    let r = Fake::new().run(&tasks()[..2], "unheard");
    assert_eq!(r.outcome, Outcome::Failed);
    assert_eq!(r.reason, "task unheard: the module has no handler for it, only for: given, outcome");
}

async fn values(t: Task) -> Result {
    let kv = t.kv();
    kv.put("ticket_id", "ops-1")?;
    kv.put("scratch/n", &7)?;
    kv.put("none", &Option::<i64>::None)?;
    assert_eq!(kv.get::<String>("ticket_id")?, "ops-1");
    assert_eq!(kv.get::<i64>("scratch/n")?, 7);
    assert_eq!(kv.get::<Option<i64>>("none")?, None);
    assert_eq!(kv.get::<i64>("ticket_id").unwrap_err().to_string(), "value ticket_id: want an integer, got a string");
    assert!(kv.get::<i64>("nowhere").unwrap_err().is(Code::NotFound));
    assert_eq!(kv.get::<String>("host_name")?, "c1", "an input");
    let names: Vec<String> = kv.list("")?.into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["none", "scratch/n", "ticket_id"]);
    assert_eq!(kv.list("scratch/")?.len(), 1);
    kv.delete("none")
}

#[test]
fn values_of_the_run() {
    let r = Fake::new().input("host_name", "c1").run(&tasks(), "values");
    assert_eq!((r.outcome, r.reason.as_str()), (Outcome::Succeeded, ""));
    assert_eq!(r.value("ticket_id").as_str(), Some("ops-1"));
    assert_eq!(r.values.keys().collect::<Vec<_>>(), ["scratch/n", "ticket_id"]);
}

async fn library(t: Task) -> Result {
    let l = t.kv().library();
    let (seen, version) = l.get::<i64>("seen")?;
    assert_eq!(l.put_with("seen", &(seen + 1), PutOptions { if_version: Some(version), ..Default::default() })?, 2);
    let again = PutOptions { if_version: Some(version), forget_after: Some(Duration::from_millis(1500)) };
    assert!(l.put_with("seen", &9, again).unwrap_err().is(Code::Conflict));
    assert_eq!(l.put("other", "x")?, 1);
    assert_eq!(l.list("o")?.len(), 1);
    assert!(l.delete_version("other", 5).unwrap_err().is(Code::Conflict));
    l.delete_version("other", 1)?;
    assert!(l.delete("other").unwrap_err().is(Code::NotFound));
    Ok(())
}

#[test]
fn values_of_the_library() {
    let fake = Fake::new().library("seen", 1);
    let r = fake.run(&tasks(), "library");
    assert_eq!((r.outcome, r.reason.as_str()), (Outcome::Succeeded, ""));
    assert_eq!(fake.library_value("seen").as_i64(), Some(2));
    assert_eq!(r.calls[2].1.get("ttl_s").as_i64(), Some(2), "rounded up");
}

fn get(id: impl Into<String>) -> NovaServerGetRequest {
    NovaServerGetRequest { id: id.into(), ..Default::default() }
}

async fn many(t: Task) -> Result {
    let one = |i: i32| {
        let t = t.clone();
        async move {
            let first = t.nova().server_get(&get(i.to_string())).await?;
            t.sleep(Duration::from_millis(1)).await;
            t.nova().server_get(&get(first.id + ".")).await.map(|s| s.id)
        }
    };
    let ids = parallel((0..300).map(one)).await.into_iter().collect::<Result<Vec<_>>>()?;
    let want: Vec<String> = (0..300).map(|i| format!("{}.", i)).collect();
    assert_eq!(ids, want);
    assert!(parallel(Vec::<Sleep>::new()).await.is_empty());
    Ok(())
}

#[test]
fn many_at_once() {
    for tickets in [1, 7, 1000] {
        let fake =
            Fake::new().tickets(tickets).answer("nova.server_get", |r: NovaServerGetRequest| Ok(Server { id: r.id, ..Default::default() }));
        let r = fake.run(&tasks(), "many");
        assert_eq!((r.outcome, r.reason.as_str(), r.calls.len()), (Outcome::Succeeded, "", 600), "{} tickets", tickets);
    }
}

fn wait() -> NovaServerWaitRequest {
    NovaServerWaitRequest { id: "s".into(), until: "moved".into(), ..Default::default() }
}

async fn give_up(t: Task) -> Result {
    let e = t.timeout(Duration::from_millis(50), t.nova().server_wait(&wait())).await.unwrap_err();
    assert_eq!((&e, e.to_string().as_str()), (&Error::TimedOut, "timed out"));
    // What is in time is what it was.
    let s = t.timeout(Duration::from_secs(5), t.nova().server_get(&get("s"))).await?;
    assert_eq!(s.id, "s");
    drop(t.nova().server_wait(&wait())); // never begun
    Ok(())
}

async fn give_up_queued(t: Task) -> Result {
    let wait = |ms| t.timeout(Duration::from_millis(ms), t.nova().server_wait(&wait()));
    let all = parallel([wait(50), wait(10), wait(20)]).await;
    assert!(all.iter().all(|r| r == &Err(Error::TimedOut)));
    let s = t.nova().server_get(&get("s")).await?;
    assert_eq!(s.id, "s");
    Ok(())
}

#[test]
fn giving_up() {
    for (key, ops) in [("give_up", 2), ("give_up_queued", 2)] {
        let fake = Fake::new()
            .tickets(1)
            .never("nova.server_wait")
            .answer("nova.server_get", |r: NovaServerGetRequest| Ok(Server { id: r.id, ..Default::default() }));
        let r = fake.run(&tasks(), key);
        assert_eq!((r.outcome, r.reason.as_str(), r.open, r.calls.len()), (Outcome::Succeeded, "", 0, ops), "{}", key);
    }
}

async fn clock(t: Task) -> Result {
    let order = Rc::new(Cell::new(0));
    let nap = |ms| {
        let (t, order) = (t.clone(), order.clone());
        async move {
            t.sleep(Duration::from_millis(ms)).await;
            order.set(order.get() * 10 + ms);
        }
    };
    parallel([nap(3), nap(1), nap(2), nap(0)]).await;
    assert_eq!(order.get(), 123);
    Ok(())
}

#[test]
fn sleepers_wake_in_turn() {
    let r = Fake::new().run(&tasks(), "clock");
    assert_eq!((r.outcome, r.reason.as_str()), (Outcome::Succeeded, ""));
}

async fn large(t: Task) -> Result {
    let s = t.nova().server_get(&get("s")).await?;
    let v: String = t.kv().get("long")?;
    assert_eq!((s.id.len(), v.len()), (100_000, 100_000));
    Ok(())
}

#[test]
fn large_answers() {
    let fake = Fake::new()
        .value("long", "x".repeat(100_000))
        .answer("nova.server_get", |_: NovaServerGetRequest| Ok(Server { id: "y".repeat(100_000), ..Default::default() }));
    let r = fake.run(&tasks(), "large");
    assert_eq!((r.outcome, r.reason.as_str()), (Outcome::Succeeded, ""));
}

async fn refused(t: Task) -> Result {
    t.nova().server_stop(&NovaServerStopRequest { id: "s".into() }).await?;
    Ok(())
}

#[test]
fn refusals() {
    let refusal = |status, request_id: &str, message: &str| OpError {
        status,
        request_id: request_id.to_string(),
        ..OpError::new(Code::Conflict, message)
    };
    for (e, want) in [
        (refusal(409, "req-1", "busy"), "nova.server_stop: conflict: busy (HTTP 409, req-1)"),
        (refusal(409, "", "nova.server_stop: busy"), "nova.server_stop: conflict: busy (HTTP 409)"),
        (refusal(0, "req-1", ""), "nova.server_stop: conflict (req-1)"),
        (OpError::new(Code::NotGranted, "no"), "nova.server_stop: not granted: no"),
    ] {
        let r = Fake::new().on("nova.server_stop", move |_| Err(e.clone())).run(&tasks(), "refused");
        assert_eq!((r.outcome, r.reason.as_str()), (Outcome::Failed, want));
    }
    let r = Fake::new().on("nova.server_stop", |_| Ok(Value::from(7))).run(&tasks(), "refused");
    assert_eq!(r.reason, "nova.server_stop: answer: want an object, got 7");
}

async fn at_a_loss(_: Task) -> Result {
    std::future::pending::<()>().await;
    Ok(())
}

#[test]
fn waiting_for_nothing() {
    let r = Fake::new().run(&tasks(), "at_a_loss");
    assert_eq!(r.reason, "the task waits for something that is no op of the host");
}

async fn leaves_open(t: Task) -> Result {
    let mut call = Box::pin(async move { t.nova().server_wait(&wait()).await });
    parallel([Box::pin(Begin(call.as_mut()))]).await;
    std::mem::forget(call);
    Ok(())
}

/// Polls a future once.
struct Begin<F>(F);

impl<F: std::future::Future + Unpin> std::future::Future for Begin<F> {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        let _ = std::pin::Pin::new(&mut self.0).poll(cx);
        std::task::Poll::Ready(())
    }
}

#[test]
fn open_tickets_are_told() {
    let r = Fake::new().never("nova.server_wait").run(&tasks(), "leaves_open");
    assert_eq!((r.outcome, r.open), (Outcome::Succeeded, 1));
}

async fn secrets(t: Task) -> Result {
    assert_eq!(t.secret("acme", "unset"), None);
    let token = t.secret("acme", "token").unwrap();
    let req = HTTPRequestRequest {
        method: "POST".into(),
        url: "https://tickets.example.com/v1".into(),
        headers: map([("Authorization", token.clone().with_prefix("Bearer ").into()), ("X-Plain", "yes".into())]),
        body_json: Some(object! { "key" => token, "n" => 1 }),
        ..Default::default()
    };
    let a = t.http().request(&req).await?;
    t.kv().put("status", &a.status)
}

#[test]
fn secrets_are_handles() {
    let fake = Fake::new().secret("acme", "token").option("acme", "unset", Value::Null).on("http.request", |req| {
        assert_eq!(
            req.to_string(),
            concat!(
                r#"{"body_json":{"key":{"$secret":"acme.token"},"n":1},"headers":{"Authorization":{"$secret":"acme.token","prefix":"Bearer "},"#,
                r#""X-Plain":"yes"},"method":"POST","url":"https://tickets.example.com/v1"}"#
            )
        );
        Ok(object! { "status" => 201, "url" => "" })
    });
    let r = fake.run(&tasks(), "secrets");
    assert_eq!((r.outcome, r.reason.as_str(), r.value("status").as_i64()), (Outcome::Succeeded, "", Some(201)));
}
