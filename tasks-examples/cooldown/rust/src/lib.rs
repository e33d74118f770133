//! A task that lets no second recovery of a host begin within some minutes of
//! the first: a host that fails again and again needs a person. It stands first
//! in pre.

use std::time::Duration;

use wasakari::{ignore, nothing, object, Code, PutOptions, Result, Task};

wasakari::task! { "cooldown" => cooldown, revert forget }

fn name(t: &Task) -> String {
    format!("host/{}", t.input_string("host_name"))
}

/// The mark that the library keeps of a host until the time is over: the run,
/// and the version.
fn last(t: &Task) -> Result<(String, i64)> {
    let (mark, version) = t.kv().library().get::<wasakari::json::Value>(&name(t))?;
    Ok((mark.get("run").as_str().unwrap_or("").to_string(), version))
}

async fn cooldown(t: Task) -> Result {
    let minutes = t.option_int("cooldown", "minutes");
    // Written only when nobody else's is there: of two runs at the same moment
    // one goes on.
    let options = PutOptions { if_version: Some(0), forget_after: Some(Duration::from_secs(60 * minutes as u64)) };
    match t.kv().library().put_with(&name(&t), &object! { "run" => t.run_id() }, options) {
        Err(e) if e.is(Code::Conflict) => {}
        other => return other.map(|_| ()),
    }
    let (run, _) = last(&t)?;
    if run == t.run_id() {
        return Ok(()); // the task runs again after an interruption
    }
    let host = t.input_string("host_name");
    ignore(format!("host {} was acted on less than {} minutes ago, by run {}", host, minutes, run))
}

/// Takes the run's own mark away: a recovery that failed does not count.
async fn forget(t: Task) -> Result {
    match last(&t) {
        Err(e) if e.is(Code::NotFound) => nothing("the mark is gone"),
        Err(e) => Err(e),
        Ok((run, _)) if run != t.run_id() => nothing("the mark is another run's"),
        Ok((_, version)) => t.kv().library().delete_version(&name(&t), version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasakari::testing::{Fake, Outcome};

    #[test]
    fn once() {
        let fake = Fake::new().input("host_name", "c1").option("cooldown", "minutes", 5);
        for _ in 0..2 {
            // The same run twice: after an interruption it goes on.
            assert_eq!(fake.run(&tasks(), "cooldown").outcome, Outcome::Succeeded);
        }
        assert_eq!(fake.library_value("host/c1").get("run").as_str(), Some("test-run"));
        assert_eq!(fake.revert(&tasks(), "cooldown").outcome, Outcome::Succeeded);
        assert!(fake.library_value("host/c1").is_null());
    }
}
