//! Why the outcome of a deployment is less than certain. What decides is here as data; texts are made from it, here only.

use crate::Timestamp;
use crate::id::AlarmName;
use crate::pause::Restraint;
use crate::vocabulary::{Cause, Signal};
use std::fmt;

/// Warnings kept per deployment; more would say nothing new.
pub const MAX_WARNINGS: usize = 20;

/// One reason why an outcome is less than certain. Its text is its [`fmt::Display`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A check before traffic could not tell, and by policy that refuses nothing.
    Check {
        /// Name of the check.
        check: String,
        /// What was seen.
        detail: String,
    },
    /// A check before traffic would have refused or held the version, had Snapback been allowed to.
    NotRefused {
        /// What kept Snapback from it.
        restraint: Restraint,
        /// Name of the check.
        check: String,
        /// What was seen.
        detail: String,
    },
    /// The hook before traffic died without an answer, and the version was let through.
    HookUnanswered(Restraint),
    /// Something blames the new version and would have rolled it back, had Snapback been allowed to.
    NotRolledBack {
        /// What kept Snapback from it.
        restraint: Restraint,
        /// What blames it.
        suspicion: Suspicion,
    },
    /// Something that does not roll back alone blames the new version, and nothing else does.
    NotSufficient(Suspicion),
    /// An alarm on what several functions share went red, while the version's own numbers or the control probes were fine.
    SharedCount(AlarmName),
    /// Something that judges the deployment cannot be read.
    Unreadable {
        /// What.
        evidence: EvidenceSource,
        /// Since when.
        since: Timestamp,
    },
    /// A metric of the policy has no data.
    NoData(MissingMetric),
    /// The witness in front of the service has no data; its name, for people.
    NoWitness(String),
    /// The numbers judged so far were packed by another version of Snapback: they were judged anew, from the start.
    JudgedAnew,
    /// The bake ended in success although something was not certain.
    BakeEnded(Uncertainty),
}

/// A metric of the policy without data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingMetric {
    /// The signal that is not seen by it.
    pub signal: Signal,
    /// Its name, for people.
    pub metric: String,
}

/// What blames the new version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspicion {
    /// An alarm that went red.
    Alarm(AlarmName),
    /// The versions were compared, or the objective's budget burns.
    Impact(Cause),
}

/// What a deployment is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceSource {
    /// Its alarms.
    Alarms,
    /// The metrics of its two versions.
    Metrics,
}

/// What was not certain at the end of a bake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncertainty {
    /// A shared incident goes on.
    IncidentIsOpen,
    /// An alarm that went red in a shared incident still is.
    IncidentAlarmIsRed,
    /// The evidence could not be read.
    Unreadable,
    /// There was too little traffic.
    TooLittleTraffic,
    /// Nobody compared the versions.
    NotCompared,
}

impl Uncertainty {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::IncidentIsOpen, Self::IncidentAlarmIsRed, Self::Unreadable, Self::TooLittleTraffic, Self::NotCompared];
}

impl Warning {
    /// Whether it makes the outcome less than certain. What neighbours did is only noted.
    #[must_use]
    pub const fn leaves_doubt(&self) -> bool {
        match self {
            Self::SharedCount(_) => false,
            Self::Check { .. }
            | Self::NotRefused { .. }
            | Self::HookUnanswered(_)
            | Self::NotRolledBack { .. }
            | Self::NotSufficient(_)
            | Self::Unreadable { .. }
            | Self::NoData(_)
            | Self::NoWitness(_)
            | Self::JudgedAnew
            | Self::BakeEnded(_) => true,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check { check, detail } => write!(f, "{check}: {detail}"),
            Self::NotRefused { restraint, check, detail } => {
                write!(f, "{restraint}, so not refused: {check}: {detail}")
            }
            Self::HookUnanswered(restraint) => {
                write!(f, "{restraint}, so not refused: the hook ended without an answer")
            }
            Self::NotRolledBack { restraint, suspicion: Suspicion::Alarm(alarm) } => {
                write!(f, "{restraint}, so not rolled back: alarm {alarm} went red")
            }
            Self::NotRolledBack { restraint, suspicion: Suspicion::Impact(cause) } => {
                write!(f, "{restraint}, so not rolled back: the new version is worse ({cause})")
            }
            Self::NotSufficient(suspicion) => {
                f.write_str("not sufficient alone, and nothing more blames the new version: ")?;
                match suspicion {
                    Suspicion::Alarm(alarm) => alarm.fmt(f),
                    Suspicion::Impact(cause) => cause.fmt(f),
                }
            }
            Self::SharedCount(alarm) => write!(
                f,
                "alarm {alarm} went red, but it counts what several functions share (an API stage, a load balancer): it blames the \
                 new version only together with the version's own numbers or a control probe. With the dimensions Method and \
                 Resource, or Route, or with a target group it would be the version's own"
            ),
            Self::Unreadable { evidence, since } => write!(f, "{evidence} cannot be read since {since}"),
            Self::NoData(MissingMetric { signal, metric }) => {
                let effect = match signal {
                    Signal::Errors => "its errors are not seen",
                    Signal::Latency => "latency is not judged",
                    Signal::Availability => "availability is not judged",
                    Signal::Transactions => "transactions are not judged",
                    Signal::Slo => "the objective is not judged",
                };
                write!(f, "metric {metric} has no data, so {effect}: see the policy's signals.{signal}.metric")
            }
            Self::NoWitness(front) => {
                write!(f, "the witness {front} has no data, so requests that get lost are not seen: see the policy's witness.front")
            }
            Self::JudgedAnew => f.write_str(
                "what was judged so far was stored by another version of Snapback and cannot be read: all minutes since the \
                 start of the shift are read and judged anew",
            ),
            Self::BakeEnded(uncertainty) => uncertainty.fmt(f),
        }
    }
}

impl fmt::Display for EvidenceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alarms => "the alarms",
            Self::Metrics => "the metrics of the two versions",
        })
    }
}

impl fmt::Display for Uncertainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IncidentIsOpen => "the bake is over, and there is no time to wait for the end of the shared incident",
            Self::IncidentAlarmIsRed => "the bake is over, and an alarm that went red in a shared incident still is",
            Self::Unreadable => "the bake is over and the evidence could not be read",
            Self::TooLittleTraffic => {
                "too little traffic to tell whether the new version is worse, which is no sign against it"
            }
            Self::NotCompared => "nobody compared the two versions at the end of the bake",
        })
    }
}
