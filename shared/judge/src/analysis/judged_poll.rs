//! What is kept of each full poll: with it the deployment can be explained, judged again, and judged with other settings.

use super::{Analysis, AnalysisSpec, seconds_between};
use crate::detector::{BucketRecord, DetectorValues, References, Said, State, TrafficSchedule, Witnesses};
use crate::time::Timestamp;

/// What the detectors were given in one full poll, and what they said to it.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedPoll {
    /// When the poll was made.
    pub polled_at: Timestamp,
    /// Second 0.
    pub origin: Timestamp,
    /// What they began with; `None`: they went on from the poll before.
    pub begun: Option<Begun>,
    /// The schedule of the traffic, as it was known then.
    pub schedule: TrafficSchedule,
    /// Buckets that start before this second are not judged.
    pub from_s: f64,
    /// Since when the evidence counts: a shared incident ended here.
    pub anew_from: Option<Timestamp>,
    /// What became known, of all sources.
    pub records: Vec<BucketRecord>,
    /// What the detector of the signals that may roll back says after it; `None`: there is none.
    pub enforcing: Option<Said>,
    /// The same for the signals that may only tell.
    pub advisory: Option<Said>,
}

/// What the detectors began with.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// The witnesses that are connected.
    pub witnesses: Witnesses,
    /// The detector of the signals that may roll back; `None`: there is none.
    pub enforcing: Option<Beginning>,
    /// The same for the signals that may only tell.
    pub advisory: Option<Beginning>,
}

/// What one detector began with.
#[derive(Debug, Clone, PartialEq)]
pub struct Beginning {
    /// Its settings.
    pub settings: DetectorValues,
    /// What was usual.
    pub references: References,
}

impl JudgedPoll {
    /// Time of the poll in seconds since second 0.
    #[must_use]
    pub fn now_s(&self) -> f64 {
        seconds_between(self.origin, self.polled_at)
    }

    /// Second since which the evidence counts, where that is not all of it.
    #[must_use]
    pub fn anew_s(&self) -> Option<f64> {
        self.anew_from.map(|from| seconds_between(self.origin, from))
    }
}

impl Analysis {
    /// What the detectors begin with: it is asked before their first poll.
    pub(super) fn begun(&self, spec: &AnalysisSpec) -> Begun {
        let beginning = |state: &Option<State>, is_enforcing| {
            let settings: &DetectorValues = spec.settings(is_enforcing)?;
            Some(Beginning { settings: settings.clone(), references: state.as_ref()?.references() })
        };
        Begun {
            witnesses: spec.witnesses.connected(spec.pairs.is_some()),
            enforcing: beginning(&self.enforcing, true),
            advisory: beginning(&self.advisory, false),
        }
    }

    /// A poll that was just judged, as it is kept.
    pub(super) fn judged(
        &self,
        spec: &AnalysisSpec,
        begun: Option<Begun>,
        from_s: f64,
        records: Vec<BucketRecord>,
        now: Timestamp,
    ) -> JudgedPoll {
        let said = |state: &Option<State>, is_enforcing| Some(state.as_ref()?.said(spec.settings(is_enforcing)?));
        JudgedPoll {
            polled_at: now,
            origin: self.origin,
            begun,
            schedule: spec.schedule(now),
            from_s,
            anew_from: self.anew_from,
            records,
            enforcing: said(&self.enforcing, true),
            advisory: said(&self.advisory, false),
        }
    }
}
