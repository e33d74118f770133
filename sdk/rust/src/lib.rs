//! Recovery tasks for OpenStack: WebAssembly modules that Wasakari runs in a
//! sandbox when a compute host, a process or a server failed.
//!
//! A task is an async function registered under its entry-point key:
//!
//! ```
//! use wasakari::{Result, Task};
//!
//! async fn custom_pre_task(t: Task) -> Result {
//!     t.log().info(format!("host {} failed", t.input_string("host_name")));
//!     Ok(())
//! }
//!
//! wasakari::task! { "custom_pre_task" => custom_pre_task }
//! # fn main() {}
//! ```
//!
//! Ops that wait for the cloud are futures, and [`parallel`] does many side by
//! side: a thousand may wait for Nova at the same time. Ops that the host
//! answers at once, those of groups kv and ha, are plain calls. Errors are
//! [`Error`]; [`fail`], [`nothing`] and [`ignore`] end a task otherwise than
//! well, and so does a panic, whose message the host shows.
//!
//! Documents are made of `..Default::default()`, which leaves out what is
//! optional. Values of inputs, options and KV are any type with
//! [`json::FromJson`] and [`json::ToJson`], [`json::Value`] among them; with
//! feature `serde` any type that serde knows, in a `Serde`.
//!
//! Off wasm tasks are plain Rust; module `testing` runs them against a fake
//! host. What happens underneath stands in sdk/ABI.md.

// Projects that carry these files as their own know no features.
#![allow(unknown_lints)]
#![allow(unexpected_cfgs)]

pub mod json;

mod error;
mod host;
mod kv;
#[rustfmt::skip]
mod ops_gen;
#[cfg(feature = "serde")]
mod serde_value;
mod task;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod tickets;
#[rustfmt::skip]
mod types_gen;

pub use error::{fail, ignore, nothing, Error, OpError, Result};
pub use kv::{Library, PutOptions, KV};
pub use ops_gen::Code;
#[cfg(feature = "serde")]
pub use serde_value::Serde;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use task::run_guest;
pub use task::{map, Function, Handler, Http, Log, Nova, Task, Text, HA};
pub use tickets::{parallel, Call, Parallel, Sleep, Timeout};
pub use types_gen::*;
