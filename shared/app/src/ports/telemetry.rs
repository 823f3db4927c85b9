//! What Snapback says about itself, as metrics.

use snapback_core::{Cause, GroupRef, HookStatus, Trigger};
use std::time::Duration;

/// A metric of Snapback itself.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnMetric {
    /// A rollback is over.
    RolledBack {
        /// Service name.
        service: String,
        /// Why.
        cause: Cause,
        /// Path.
        trigger: Trigger,
        /// First impact to decision.
        to_detect: Option<Duration>,
        /// Decision to old version.
        to_roll_back: Option<Duration>,
    },
    /// The evidence is good again after a rollback.
    Recovered {
        /// Service name.
        service: String,
        /// Why it was rolled back.
        cause: Cause,
        /// Path.
        trigger: Trigger,
        /// First impact to good evidence.
        to_recover: Duration,
    },
    /// A deployment is held in shift or bake.
    Held {
        /// Service name.
        service: String,
    },
    /// A deployment was refused before traffic.
    Refused {
        /// Service name.
        service: String,
        /// Why.
        cause: Cause,
        /// Who.
        trigger: Trigger,
    },
    /// A deployment ended well after a warning.
    Inconclusive {
        /// Service name.
        service: String,
    },
    /// A hook has concluded.
    HookDone {
        /// Service name.
        service: String,
        /// Its answer; `None`: it stays unanswered for the time of the bake.
        result: Option<HookStatus>,
        /// How long it took.
        took: Duration,
    },
    /// Live deployments of a service in this minute.
    Watched {
        /// Service name.
        service: String,
        /// How many.
        count: u32,
    },
    /// Evidence could not be read.
    EvidenceMissing {
        /// Service name.
        service: String,
    },
    /// Every live deployment of the group was judged on readable evidence in this tick, or none is live.
    Heartbeat {
        /// Group.
        group: GroupRef,
    },
    /// Whether a permitted rollback of the group does not get through (1) or not (0).
    Verdict {
        /// Group.
        group: GroupRef,
        /// See above.
        is_bad: bool,
    },
    /// Whether a pause holds for the group (1) or not (0).
    Paused {
        /// Group.
        group: GroupRef,
        /// See above.
        is_paused: bool,
    },
}

/// Metrics.
pub trait Telemetry {
    /// Emits a metric; never fails the caller.
    fn emit(&self, metric: OwnMetric);
}
