// Package @wasakari/sdk is for writing recovery tasks: WebAssembly modules that Wasakari runs in a sandbox when a compute host, a process or a
// server of an OpenStack cloud failed.
//
//     import { Outcome, Task, handle, succeed } from "@wasakari/sdk/assembly";
//     export { revert, run } from "@wasakari/sdk/assembly";
//
//     handle("custom_pre_task", (t: Task): Outcome => {
//       t.log.info("host " + t.inputs.string("host_name") + " failed");
//       return succeed();
//     });
//
// Ops are methods of t.nova, t.ha and t.http; each has a Begin that comes back at once. parallel works on many things at the same time.

import "./abort"; // for asc, which asconfig.json sends there

export * from "./types_gen";
export * from "./ops_gen";
export { Json, JsonIter, JsonOut, Kind } from "./json";
export { Call, Job, OpError, Pending, Raw, Result, begin, call, now, parallel, resultOf, setTicketWait, ticks, waitAny } from "./host";
export {
  Inputs, KV, Library, Logger, Options, Outcome, Task, fail, failed, handle, ignore, nothing, revert, run, succeed,
} from "./task";
