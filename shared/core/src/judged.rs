//! What the numbers of the two versions say at one moment, as the plan needs it.

use crate::id::AlarmName;
use crate::time::Timestamp;
use crate::words::{Cause, Signal};

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
}

/// What the comparison says now.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The new version is worse, by signals that may roll back.
    pub verdict: Option<Finding>,
    /// It is worse, by signals that may only tell.
    pub advice: Option<Finding>,
    /// The objective's budget burns too fast.
    pub burning: Option<Finding>,
    /// Everything before this is judged.
    pub until: Timestamp,
    /// Whether there was enough traffic to tell.
    pub is_conclusive: bool,
    /// Metrics of the policy that have no data, one line each.
    pub missing: Vec<String>,
    /// Why the numbers could not be read just now, when they could not.
    pub unreadable: Option<String>,
}

impl Judged {
    /// Nothing was compared yet.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            verdict: None,
            advice: None,
            burning: None,
            until: Timestamp::from_ms(0),
            is_conclusive: false,
            missing: Vec::new(),
            unreadable: None,
        }
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
