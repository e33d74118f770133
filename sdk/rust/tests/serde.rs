//! Values of types that serde knows.

use serde::{Deserialize, Serialize};
use wasakari::testing::{Fake, Outcome};
use wasakari::{Result, Serde, Task};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Ticket {
    id: u64,
    title: String,
}

async fn ticket(t: Task) -> Result {
    let Serde(ticket) = t.input::<Serde<Ticket>>("ticket")?;
    t.kv().put("next", &Serde(Ticket { id: ticket.id + 1, ..ticket }))?;
    let Serde(next) = t.kv().get::<Serde<Ticket>>("next")?;
    assert_eq!(next, Ticket { id: u64::MAX, title: "Zürich \"1\"".into() });
    t.kv().get::<Serde<bool>>("next").map(|_| ())
}

wasakari::task! { "ticket" => ticket }

#[test]
fn values_of_serde() {
    let input = wasakari::object! { "id" => u64::MAX - 1, "title" => "Zürich \"1\"" };
    let r = Fake::new().input("ticket", input).run(&tasks(), "ticket");
    assert_eq!(r.outcome, Outcome::Failed);
    assert!(r.reason.starts_with("value next: invalid type: map, expected a boolean"), "{}", r.reason);
    assert_eq!(r.value("next").to_string(), r#"{"id":18446744073709551615,"title":"Zürich \"1\""}"#);
}
