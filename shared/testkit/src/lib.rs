//! A small world for the use cases: every port in memory, with a clock that moves only when told.
//!
//! [`World`] answers all ports. Inside is a CodeDeploy for Lambda (hooks, traffic shift, stop, rollback deployments), a
//! CloudWatch with alarms, and the table with its real compare-and-set. [`Play`] is the rest of AWS: it delivers events,
//! runs the functions side by side, kills them at their time-out, retries them and calls their on-failure destination.
//! Nothing runs in parallel and nothing is random but what a seed says, so a run can be repeated exactly.
//!
//! ```
//! use snapback_testkit::{Play, World, policy};
//! use std::time::Duration;
//!
//! let world = World::new();
//! world.set_policy(policy());
//! let id = world.deploy("2");
//! Play::new(&world).until_quiet(Duration::from_secs(3600));
//! assert_eq!(world.outcome(&id).map(|outcome| outcome.as_str()), Some("promoted"));
//! ```
#![warn(missing_docs)]
#![expect(clippy::expect_used, reason = "a test bed may panic: the test that uses it fails then")]

mod check;
mod codedeploy;
mod direct;
mod faults;
mod histogram;
mod platform;
mod play;
mod ports;
mod stores;
mod table;
mod traffic;
mod world;

pub use check::{Rules, broken_promises};
pub use codedeploy::{Group, Status};
pub use direct::Direct;
pub use faults::{Chaos, Fault, How};
pub use histogram::Histogram;
pub use platform::SimulatedPlatform;
pub use play::{Delivery, Ended, Play, Steps, block_on};
pub use traffic::Quality;
pub use world::{Action, Bad, Published, World, alarm, at, policy, run_of, scope_of};
