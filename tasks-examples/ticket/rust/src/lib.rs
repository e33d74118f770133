//! A task that opens a ticket for a failed host in a system that takes them by
//! HTTP, and provides its id.

use wasakari::json::Value;
use wasakari::{fail, map, object, HTTPRequestRequest, Result, Task};

wasakari::task! { "ticket" => ticket }

async fn ticket(t: Task) -> Result {
    let id = match open(&t).await {
        Ok(id) => {
            t.log().info(format!("opened ticket {}", id));
            id
        }
        Err(e) if t.option_bool("ticket", "required") => return Err(e),
        Err(e) => {
            // A recovery without a ticket is better than none.
            t.log().warn(format!("no ticket: {}", e));
            String::new()
        }
    };
    t.kv().put("ticket_id", &id)
}

/// Gives the id of the ticket.
async fn open(t: &Task) -> Result<String> {
    // The host puts the token in; the task never sees it.
    let token = t.secret("ticket", "token").unwrap_or_default().with_prefix("Bearer ");
    let req = HTTPRequestRequest {
        method: "POST".into(),
        url: t.option_string("ticket", "url"),
        headers: map([
            ("Authorization", token.into()),
            // The same when the task is run again: no second ticket.
            ("Idempotency-Key", t.idempotency_key().into()),
        ]),
        body_json: Some(object! {
            "queue" => t.option_string("ticket", "queue"),
            "title" => format!("host {} failed", t.input_string("host_name")),
            "text" => format!("Recovery {} began.", t.flow()),
        }),
        ..Default::default()
    };
    let answer = t.http().request(&req).await?;
    if answer.status != 200 && answer.status != 201 {
        return fail(format!("the ticket system answered {}", answer.status));
    }
    match Value::parse(answer.body.as_deref().unwrap_or(""))?.get("id") {
        Value::Null => fail("the ticket system told no id"),
        Value::String(id) => Ok(id.clone()),
        number => Ok(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasakari::testing::{Fake, Outcome};

    fn fake(status: i64, body: &'static str) -> Fake {
        Fake::new()
            .input("host_name", "c1")
            .option("ticket", "url", "https://tickets.example.com/v1/tickets")
            .option("ticket", "queue", "ops")
            .option("ticket", "required", true)
            .secret("ticket", "token")
            .on("http.request", move |_| Ok(object! { "status" => status, "url" => "", "body" => body }))
    }

    #[test]
    fn opens() {
        let r = fake(201, r#"{"id": 4711}"#).run(&tasks(), "ticket");
        assert_eq!((r.outcome, r.value("ticket_id").as_str()), (Outcome::Succeeded, Some("4711")));
        assert_eq!(r.calls[0].1.get("headers").get("Authorization").get("$secret").as_str(), Some("ticket.token"));
    }

    #[test]
    fn is_told_no_id() {
        let r = fake(200, "{}").run(&tasks(), "ticket");
        assert_eq!((r.outcome, r.reason.as_str()), (Outcome::Failed, "the ticket system told no id"));
    }
}
