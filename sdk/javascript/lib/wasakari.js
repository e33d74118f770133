// The module "wasakari" inside the engine: the lib of core.js on the host's
// imports. What it exports stands in wasakari.d.ts.

import * as host from "wasakari:host";
import { create } from "./core.js";

const sdk = create(host, (name) => import(name));

Math.random = host.random;
Object.assign(globalThis, sdk.globals);
host.engine(sdk.engine);

export const {
  inputs,
  options,
  kv,
  nova,
  ha,
  http,
  log,
  progress,
  sleep,
  parallel,
  succeed,
  fail,
  nothing,
  ignore,
  call,
  task,
  json,
} = sdk.api;
export { OpError, Outcome, Secret } from "./core.js";
