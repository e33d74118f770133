// A task that opens a ticket for a failed host in a system that takes them by
// HTTP, and provides its id.

import { http, inputs, json, log, options, task } from "wasakari";

export default {
  async run() {
    let id = "";
    try {
      id = await open();
      log(`opened ticket ${id}`);
    } catch (err) {
      if (options.ticket.required) throw err;
      // A recovery without a ticket is better than none.
      log.warn(`no ticket: ${err.message}`);
    }
    return { ticket_id: id };
  },
};

// open gives the id of the ticket.
async function open() {
  const { url, queue, token } = options.ticket;
  const answer = await http.post(url, {
    headers: {
      // The host puts the token in; the task never sees it.
      Authorization: token.withPrefix("Bearer "),
      // The same when the task is run again: no second ticket.
      "Idempotency-Key": task.idempotency_key,
    },
    body_json: { queue, title: `host ${inputs.host_name} failed`, text: `Recovery ${task.flow} began.` },
  });
  if (answer.status !== 200 && answer.status !== 201) throw new Error(`the ticket system answered ${answer.status}`);
  const { id } = json.parse(answer.body);
  if (id === undefined) throw new Error("the ticket system told no id");
  return String(id);
}
