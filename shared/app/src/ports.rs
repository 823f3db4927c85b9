//! What the use cases need of the world: one small trait per need, in domain types, one file per family.
//!
//! A use case names the ports that it uses and no more. Futures are not `Send`: a function runs on one thread, and so do the
//! command line and the tests.
#![expect(async_fn_in_trait, reason = "every caller runs on one thread; no Send bound is wanted")]

mod controller;
mod error;
mod evidence;
mod notifier;
mod policies;
mod stores;
mod telemetry;
mod time;

pub use controller::Controller;
pub use error::{CallError, CallErrorKind};
pub use evidence::{Alarms, CallReport, DirectAnswer, DirectOutcome, Metrics, ProbeAnswer, Prober, TargetQueries};
pub use notifier::Notifier;
pub use policies::Policies;
pub use stores::{AnalysisStore, DeploymentStore, GroupStore, Listed, PauseStore, SweepLock, Write};
pub use telemetry::{OwnMetric, Telemetry};
pub use time::{Clock, Schedules};
