//! What speaks against the new version at one moment, as the plan needs it.

use crate::Timestamp;
use crate::id::AlarmName;
use crate::target::Target;
use crate::vocabulary::{Cause, Signal};
use snapback_judge::result::Detection;

/// A reason to go back.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Kind of impact; `None` for an alarm of the group that the policy does not name.
    pub signal: Option<Signal>,
    /// Why.
    pub cause: Cause,
    /// One line with numbers, for people.
    pub why: String,
    /// First moment of impact that it shows.
    pub impact_started_at: Option<Timestamp>,
    /// Alarms that are the evidence; none where versions were compared.
    pub alarms: Vec<AlarmName>,
    /// Whether it rolls back alone. An alarm beside a comparison usually only makes us look.
    pub is_sufficient: bool,
    /// Whether both versions were compared in the same minutes, so that no shared incident can explain it.
    pub is_concurrent: bool,
    /// Whether it is a count that several functions share: a neighbour may have caused it.
    pub is_shared: bool,
    /// Whether pairs of probes show it: they failed on the new version alone, in the same moments, whoever gets the traffic.
    pub is_paired: bool,
}

impl Finding {
    /// What the numbers of the versions of `target` show.
    #[must_use]
    pub fn of(detection: &Detection, target: &Target) -> Self {
        let Detection { signal, impact_started_at, is_sufficient, is_concurrent, .. } = *detection;
        let why = match signal {
            Signal::Slo => detection.why.clone(),
            Signal::Errors | Signal::Latency | Signal::Availability | Signal::Transactions => {
                format!("version {} is worse than version {}: {}", target.canary(), target.baseline(), detection.why)
            }
        };
        Self {
            signal: Some(signal),
            cause: Cause::from(signal),
            why,
            impact_started_at,
            alarms: Vec::new(),
            is_sufficient,
            is_concurrent,
            is_shared: false,
            is_paired: false,
        }
    }

    /// What pairs of probes of the versions of `target` show.
    #[must_use]
    pub fn of_pairs(detection: &Detection, target: &Target) -> Self {
        Self { is_paired: true, ..Self::of(detection, target) }
    }
}

/// What control probes of both versions found: it tells a bad version from a shared incident when only the new version
/// gets traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Both answer well.
    BothPass,
    /// Both fail: something that both need is broken.
    BothFail,
    /// Only the new version fails.
    OnlyCanaryFails,
    /// Only the old version fails: going back would make it worse.
    OnlyBaselineFails,
    /// No probe reaches a version by its number, or they could not be asked.
    Unknown,
}
