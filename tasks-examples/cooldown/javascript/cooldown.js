// A task that lets no second recovery of a host begin within some minutes of
// the first: a host that fails again and again needs a person. It stands first
// in pre.

import { ignore, inputs, kv, nothing, options, task } from "wasakari";

const name = () => `host/${inputs.host_name}`;

export default {
  async run() {
    const { minutes } = options.cooldown;
    try {
      // Written only when nobody else's is there: of two runs at the same moment
      // one goes on.
      await kv.library.put(name(), { run: task.run_id }, { if_version: 0, ttl_s: minutes * 60 });
    } catch (err) {
      if (err.code !== "conflict") throw err;
      const { value: last } = await kv.library.get(name());
      if (last.run === task.run_id) return; // the task runs again after an interruption
      ignore(`host ${inputs.host_name} was acted on less than ${minutes} minutes ago, by run ${last.run}`);
    }
  },

  // Takes the run's own mark away: a recovery that failed does not count.
  async revert() {
    const { value: last, version } = await kv.library.get(name(), null);
    if (last === null) nothing("the mark is gone");
    if (last.run !== task.run_id) nothing("the mark is another run's");
    await kv.library.delete(name(), { if_version: version });
  },
};
