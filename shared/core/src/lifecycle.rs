//! The life cycle of one watched deployment: every legal transition in one `match`.

use crate::words::Outcome;

/// Where in its bake or shift a rollback began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// While traffic shifted, or between the last shift and the held hook.
    Shift,
    /// In the bake.
    Bake,
}

impl Exposure {
    /// Outcome of a deployment that was rolled back here.
    #[must_use]
    pub const fn rolled_back(self) -> Outcome {
        match self {
            Self::Shift => Outcome::RolledBackInShift,
            Self::Bake => Outcome::RolledBackInBake,
        }
    }
}

/// Phase of a watched deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No customer uses the new version yet.
    BeforeTraffic,
    /// Refused before traffic; CodeDeploy is ending it.
    Refused,
    /// Traffic shifts.
    InShift,
    /// All traffic has moved, the last hook is held open.
    InBake,
    /// A rollback was decided.
    GoingBack(Exposure),
    /// Over.
    Closed(Outcome),
}

impl Phase {
    /// Whether the deployment is over for Snapback.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Where customers use the new version now, when they do and no rollback was decided.
    #[must_use]
    pub const fn exposure(self) -> Option<Exposure> {
        match self {
            Self::InShift => Some(Exposure::Shift),
            Self::InBake => Some(Exposure::Bake),
            Self::BeforeTraffic | Self::Refused | Self::GoingBack(_) | Self::Closed(_) => None,
        }
    }
}

/// What happened to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The new version began to get traffic.
    TrafficStarted,
    /// The last hook is held open.
    BakeStarted,
    /// Refused before traffic.
    RefusalDecided,
    /// A rollback was decided, by us or by CodeDeploy, with this exposure.
    RollbackDecided(Exposure),
    /// It is over.
    Ended(Outcome),
}

/// An event that cannot happen in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {event:?} cannot happen in phase {phase:?}")]
pub struct IllegalTransition {
    /// The phase.
    pub phase: Phase,
    /// The event.
    pub event: Event,
}

impl Phase {
    /// The phase after `event`. An event that was applied before, or that is older than the phase, changes nothing:
    /// events arrive at least once and in any order.
    ///
    /// # Errors
    /// When the event contradicts the phase, for example a promotion after a rollback was decided.
    pub fn next(self, event: Event) -> Result<Self, IllegalTransition> {
        match (self, event) {
            // Traffic in spite of a refusal: the answer did not take effect, so the deployment is judged (and undone).
            (Self::BeforeTraffic | Self::Refused, Event::TrafficStarted) => Ok(Self::InShift),
            (Self::BeforeTraffic, Event::RefusalDecided) => Ok(Self::Refused),
            (Self::BeforeTraffic | Self::InShift, Event::BakeStarted) => Ok(Self::InBake),
            // Snapback may have missed everything in between (it was down): a rollback of CodeDeploy is seen in any phase.
            (Self::BeforeTraffic | Self::InShift | Self::InBake | Self::Refused, Event::RollbackDecided(exposure)) => {
                Ok(Self::GoingBack(exposure))
            }
            (Self::BeforeTraffic | Self::InShift | Self::InBake, Event::Ended(outcome))
                if !outcome.is_rolled_back() =>
            {
                Ok(Self::Closed(outcome))
            }
            (
                Self::Refused,
                Event::Ended(outcome @ (Outcome::RefusedBeforeTraffic | Outcome::Held | Outcome::Stopped)),
            ) => Ok(Self::Closed(outcome)),
            // A rollback that could not be done ends `held`: a person has to look. It never ends `promoted`.
            (Self::GoingBack(exposure), Event::Ended(outcome))
                if outcome == exposure.rolled_back() || matches!(outcome, Outcome::Held | Outcome::Stopped) =>
            {
                Ok(Self::Closed(outcome))
            }
            // Delivered twice, or late: nothing new.
            (same @ (Self::InShift | Self::InBake | Self::GoingBack(_) | Self::Closed(_)), Event::TrafficStarted)
            | (same @ (Self::InBake | Self::GoingBack(_) | Self::Closed(_)), Event::BakeStarted)
            | (same @ (Self::Refused | Self::Closed(Outcome::RefusedBeforeTraffic)), Event::RefusalDecided)
            | (same @ (Self::GoingBack(_) | Self::Closed(_)), Event::RollbackDecided(_)) => Ok(same),
            (Self::Closed(before), Event::Ended(outcome)) if before == outcome => Ok(self),
            (phase, event) => Err(IllegalTransition { phase, event }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn phases() -> Vec<Phase> {
        let mut all = vec![
            Phase::BeforeTraffic,
            Phase::Refused,
            Phase::InShift,
            Phase::InBake,
            Phase::GoingBack(Exposure::Shift),
            Phase::GoingBack(Exposure::Bake),
        ];
        all.extend(Outcome::ALL.iter().map(|outcome| Phase::Closed(*outcome)));
        all
    }

    fn events() -> Vec<Event> {
        let mut all = vec![
            Event::TrafficStarted,
            Event::BakeStarted,
            Event::RefusalDecided,
            Event::RollbackDecided(Exposure::Shift),
            Event::RollbackDecided(Exposure::Bake),
        ];
        all.extend(Outcome::ALL.iter().map(|outcome| Event::Ended(*outcome)));
        all
    }

    /// The whole phase × event grid: a new variant shows up as a diff of `lifecycle.grid.txt`.
    #[test]
    fn grid() {
        let mut text = String::new();
        for phase in phases() {
            for event in events() {
                let next = match phase.next(event) {
                    Ok(next) if next == phase => "same".to_owned(),
                    Ok(next) => format!("{next:?}"),
                    Err(_) => "refused".to_owned(),
                };
                text.push_str(&format!("{phase:?} + {event:?} = {next}\n"));
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lifecycle.grid.txt");
        #[expect(clippy::disallowed_methods, reason = "a test may be told to write its snapshot anew")]
        let update = std::env::var("UPDATE_SNAPSHOTS").is_ok();
        if update {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, committed, "run with UPDATE_SNAPSHOTS=1 and review the diff");
    }

    proptest! {
        #[test]
        fn a_decided_rollback_is_never_promoted(choices in prop::collection::vec(0usize..64, 1..40)) {
            let (mut phase, mut decided) = (Phase::BeforeTraffic, false);
            for choice in choices {
                let all = events();
                let event = all[choice % all.len()];
                if let Ok(next) = phase.next(event) {
                    decided |= matches!(next, Phase::GoingBack(_));
                    prop_assert!(!phase.is_closed() || next == phase, "left {phase:?}");
                    prop_assert_eq!(next.next(event), Ok(next), "an event applied twice equals once");
                    phase = next;
                }
            }
            let promoted = matches!(phase, Phase::Closed(Outcome::Promoted | Outcome::Inconclusive));
            prop_assert!(!(decided && promoted));
        }
    }
}
