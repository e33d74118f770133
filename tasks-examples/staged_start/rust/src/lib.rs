//! A task that moves all servers off a failed host at once, and then starts
//! those that are to run a few at a time on each host they came to: disks and
//! networks do not have to bear all of them booting together.

use std::collections::{BTreeMap, BTreeSet};

use wasakari::{
    fail, parallel, Code, NovaServerEvacuateRequest, NovaServerListRequest, NovaServerStartRequest, NovaServerWaitRequest,
    NovaServiceWaitRequest, Result, Server, Task,
};

wasakari::task! { "staged_start" => staged_start }

const GROUP: &str = "staged_start";

async fn staged_start(t: Task) -> Result {
    let (host, limit) = (t.input_string("host_name"), t.option_int(GROUP, "timeout"));
    let down = NovaServiceWaitRequest { host: host.clone(), state: Some("down".into()), timeout_s: Some(limit), ..Default::default() };
    t.nova().service_wait(&down).await?;
    let all = NovaServerListRequest {
        host: Some(host),
        fields: fields(&["id", "name", "metadata", "OS-EXT-STS:vm_state"]),
        ..Default::default()
    };
    let servers = t.nova().server_list(&all).await?.servers;

    let moved = parallel(servers.iter().map(|s| evacuate(&t, s, limit))).await;
    let (mut failed, mut hosts, mut by_host) = (Vec::new(), BTreeSet::new(), BTreeMap::<String, Vec<Server>>::new());
    for (before, result) in servers.iter().zip(moved) {
        match result {
            Err(e) => failed.push(format!("{}: {}", name(before), e)),
            Ok(None) => {}
            Ok(Some(Moved { server, start })) => {
                let host = server.host.clone().unwrap_or_default();
                if start {
                    by_host.entry(host.clone()).or_default().push(server);
                }
                if !host.is_empty() {
                    hosts.insert(host);
                }
            }
        }
    }
    let done = format!("evacuated {} of {} servers", servers.len() - failed.len(), servers.len());
    t.log().info(format!("{} to {} hosts", done, hosts.len()));
    t.progress(500, done);

    let mut started = Vec::new();
    for (server, result) in parallel(by_host.into_values().map(|servers| start_all(&t, servers, limit))).await.concat() {
        match result {
            Ok(()) => started.push(server),
            Err(e) => failed.push(format!("{}: {}", server, e)),
        }
    }
    started.sort();
    t.log().info(format!("started {} servers", started.len()));
    if !failed.is_empty() {
        failed.sort();
        return fail(format!("{} of {} servers failed: {}", failed.len(), servers.len(), failed.join("; ")));
    }
    t.kv().put("started_servers", &started)
}

fn fields(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

fn name(s: &Server) -> &str {
    s.name.as_deref().unwrap_or(&s.id)
}

/// A server that was evacuated.
struct Moved {
    server: Server, // where and how it is now
    start: bool,
}

/// Moves a server and says whether it is to be started: it ran before, or its
/// owner's metadata wants it, and it does not run now. None: it is deleted.
async fn evacuate(t: &Task, s: &Server, limit: i64) -> Result<Option<Moved>> {
    match t.nova().server_evacuate(&NovaServerEvacuateRequest { id: s.id.clone(), host: None }).await {
        // An earlier attempt of this task has begun it, or it is gone.
        Err(e) if !e.is(Code::Conflict) => return Err(e),
        _ => {}
    }
    let wait = NovaServerWaitRequest {
        id: s.id.clone(),
        until: "moved".into(),
        timeout_s: Some(limit),
        fields: fields(&["id", "name", "OS-EXT-STS:vm_state", "OS-EXT-SRV-ATTR:host"]),
        ..Default::default()
    };
    let answer = t.nova().server_wait(&wait).await?;
    match answer.outcome.as_str() {
        "error" => return fail(answer.message.unwrap_or_default()),
        "deleted" => return Ok(None),
        _ => {}
    }
    let wants = s.metadata.get("start_after_recovery").map_or(false, |v| v == "true");
    let runs = s.vm_state.as_deref() == Some("active");
    let start = (wants || runs) && answer.server.vm_state.as_deref() == Some("stopped");
    Ok(Some(Moved { server: answer.server, start }))
}

/// Starts the servers of one host, batch by batch.
async fn start_all(t: &Task, servers: Vec<Server>, limit: i64) -> Vec<(String, Result)> {
    let mut results = Vec::new();
    for batch in servers.chunks(t.option_int(GROUP, "batch") as usize) {
        let done = parallel(batch.iter().map(|s| start(t, s, limit))).await;
        results.extend(batch.iter().map(|s| name(s).to_string()).zip(done));
    }
    results
}

async fn start(t: &Task, s: &Server, limit: i64) -> Result {
    t.nova().server_start(&NovaServerStartRequest { id: s.id.clone() }).await?;
    let wait = NovaServerWaitRequest {
        id: s.id.clone(),
        until: "vm_state".into(),
        vm_states: fields(&["active"]),
        timeout_s: Some(limit),
        fields: fields(&["id"]),
        ..Default::default()
    };
    let answer = t.nova().server_wait(&wait).await?;
    match answer.outcome.as_str() {
        "error" => fail(answer.message.unwrap_or_default()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use wasakari::testing::{Fake, Outcome};
    use wasakari::*;

    #[test]
    fn batches() {
        let (open, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (begins, ends) = (open.clone(), open.clone());
        let peak = most.clone();
        let fake = Fake::new()
            .input("host_name", "c1")
            .option("staged_start", "batch", 2)
            .option("staged_start", "timeout", 60)
            .answer("nova.service_wait", |_: NovaServiceWaitRequest| Ok(NovaServiceWaitAnswer::default()))
            .answer("nova.server_list", |_: NovaServerListRequest| {
                let server = |i| Server {
                    id: format!("s{}", i),
                    name: Some(format!("web-{}", i)),
                    vm_state: Some("active".into()),
                    ..Default::default()
                };
                Ok(NovaServerListAnswer { servers: (0..5).map(server).collect() })
            })
            .answer("nova.server_evacuate", |r: NovaServerEvacuateRequest| match r.id.as_str() {
                "s4" => Err(OpError::new(Code::Forbidden, "no")),
                "s3" => Err(OpError::new(Code::Conflict, "under way")),
                _ => Ok(NovaServerEvacuateAnswer::default()),
            })
            .answer("nova.server_start", move |_: NovaServerStartRequest| {
                begins.set(begins.get() + 1);
                peak.set(peak.get().max(begins.get()));
                Ok(NovaServerStartAnswer::default())
            })
            .answer("nova.server_wait", move |r: NovaServerWaitRequest| {
                if r.until == "vm_state" {
                    ends.set(ends.get() - 1);
                }
                let server = Server {
                    id: r.id.clone(),
                    name: Some(r.id.replace('s', "web-")),
                    vm_state: Some("stopped".into()),
                    host: Some("c2".into()),
                    ..Default::default()
                };
                Ok(NovaServerWaitAnswer { outcome: "reached".into(), server, message: None })
            });
        let r = fake.run(&tasks(), "staged_start");
        assert_eq!(r.outcome, Outcome::Failed);
        assert_eq!(r.reason, "1 of 5 servers failed: web-4: nova.server_evacuate: forbidden: no");
        assert_eq!(r.logs, ["info evacuated 4 of 5 servers to 1 hosts", "info started 4 servers"]);
        assert_eq!((open.get(), most.get()), (0, 2));
    }
}
