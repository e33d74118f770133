// Opens a ticket for a failed host in a system that takes them by HTTP, and provides its id.
import { HTTPRequestRequest, Json, JsonOut, Outcome, Task, Text, fail, failed, handle, succeed } from "../../../../sdk/assemblyscript/assembly";

export { revert, run } from "../../../../sdk/assemblyscript/assembly";

/** The id of a ticket, or why there is none. */
class Ticket {
  constructor(public id: string, public why: string) {}
}

function open(t: Task): Ticket {
  const body = new JsonOut();
  body.beginObject();
  body.key("queue");
  body.string(t.options.string("ticket", "queue"));
  body.key("title");
  body.string("host " + t.inputs.string("host_name") + " failed");
  body.key("text");
  body.string("Recovery " + t.input.flow + " began.");
  body.endObject();

  const request = new HTTPRequestRequest("POST", t.options.string("ticket", "url"));
  // The host puts the token in; the task never sees it.
  const token = t.options.secret("ticket", "token");
  if (token !== null) {
    token.prefix = "Bearer ";
    request.headers.set("Authorization", new Text("", token));
  }
  // The same when the task is run again: no second ticket.
  request.headers.set("Idempotency-Key", new Text(t.input.idempotencyKey));
  request.bodyJson = body.json();
  const answer = t.http.request(request);
  if (!answer.ok) return new Ticket("", answer.error.toString());
  if (answer.value.status != 200 && answer.value.status != 201) {
    return new Ticket("", "the ticket system answered " + answer.value.status.toString());
  }
  const ticket = Json.parse(answer.value.body);
  if (ticket === null) return new Ticket("", "the ticket system's answer is no JSON");
  const id = ticket.get("id").plain(); // text, or a number as it stands
  return new Ticket(id, id.length ? "" : "the ticket system told no id");
}

handle("ticket", (t: Task): Outcome => {
  const ticket = open(t);
  if (!ticket.why.length) {
    t.log.info("opened ticket " + ticket.id);
  } else if (t.options.bool("ticket", "required")) {
    return fail(ticket.why);
  } else {
    // A recovery without a ticket is better than none.
    t.log.warn("no ticket: " + ticket.why);
  }
  const refused = t.kv.put("ticket_id", Json.ofString(ticket.id));
  return refused === null ? succeed() : failed(refused);
});
