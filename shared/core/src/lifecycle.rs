//! The life cycle of one watched deployment: every legal transition in one `match`.

use crate::Timestamp;
use crate::vocabulary::{Cause, Outcome, Trigger};

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

/// Why a deployment is refused before traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, and who refused.
    pub blame: Blame,
    /// One line for people.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Why a deployment was refused or rolled back, and on which path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blame {
    /// Why.
    pub cause: Cause,
    /// The path.
    pub trigger: Trigger,
}

/// The shift: customers use the new version more and more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shift {
    /// Set when it was refused before traffic, but traffic started all the same.
    pub refusal: Option<Refusal>,
}

/// The bake: the last hook is held open and the evidence is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bake {
    /// When the hook event began.
    pub started_at: Timestamp,
    /// When it is answered if all is well.
    pub ends_at: Timestamp,
    /// When it was found to be over and nothing bad: stored before the hook is answered, so that whoever decided otherwise in
    /// the same moment is seen.
    pub passed_at: Option<Timestamp>,
    /// As [`Shift::refusal`].
    pub refusal: Option<Refusal>,
}

impl Bake {
    /// A bake that nobody has ended yet.
    #[must_use]
    pub const fn new(started_at: Timestamp, ends_at: Timestamp) -> Self {
        Self { started_at, ends_at, passed_at: None, refusal: None }
    }
}

/// How far a deployment came before it ended, or before a rollback was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// Nobody concluded anything before traffic.
    BeforeTraffic,
    /// It was refused before traffic.
    Refused(Refusal),
    /// The shift.
    Shift(Shift),
    /// The bake.
    Bake(Bake),
}

impl Reached {
    const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::BeforeTraffic => None,
            Self::Refused(refusal) => Some(refusal),
            Self::Shift(shift) => shift.refusal.as_ref(),
            Self::Bake(bake) => bake.refusal.as_ref(),
        }
    }

    const fn bake(&self) -> Option<&Bake> {
        match self {
            Self::Bake(bake) => Some(bake),
            Self::BeforeTraffic | Self::Refused(_) | Self::Shift(_) => None,
        }
    }
}

/// How a deployment ended, with what belongs to each outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Well, without a warning.
    Promoted,
    /// Well, with a warning.
    Inconclusive,
    /// Before any traffic.
    Refused(Blame),
    /// Rolled back where it was then.
    RolledBack(Exposure, Blame),
    /// Not rolled back, although Snapback held it, or decided on a rollback that could not be done (then with its reason).
    Held(Option<Blame>),
    /// By somebody, without a rollback.
    Stopped,
}

impl Ending {
    /// The ending with this outcome; `None` when `blame` is missing, or does not belong to it.
    #[must_use]
    pub const fn new(outcome: Outcome, blame: Option<Blame>) -> Option<Self> {
        match (outcome, blame) {
            (Outcome::Promoted, None) => Some(Self::Promoted),
            (Outcome::Inconclusive, None) => Some(Self::Inconclusive),
            (Outcome::RefusedBeforeTraffic, Some(blame)) => Some(Self::Refused(blame)),
            (Outcome::RolledBackInShift, Some(blame)) => Some(Self::RolledBack(Exposure::Shift, blame)),
            (Outcome::RolledBackInBake, Some(blame)) => Some(Self::RolledBack(Exposure::Bake, blame)),
            (Outcome::Held, blame) => Some(Self::Held(blame)),
            (Outcome::Stopped, None) => Some(Self::Stopped),
            (Outcome::Promoted | Outcome::Inconclusive | Outcome::Stopped, Some(_))
            | (Outcome::RefusedBeforeTraffic | Outcome::RolledBackInShift | Outcome::RolledBackInBake, None) => None,
        }
    }

    /// Its outcome.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Promoted => Outcome::Promoted,
            Self::Inconclusive => Outcome::Inconclusive,
            Self::Refused(_) => Outcome::RefusedBeforeTraffic,
            Self::RolledBack(exposure, _) => exposure.rolled_back(),
            Self::Held(_) => Outcome::Held,
            Self::Stopped => Outcome::Stopped,
        }
    }

    /// Why it was refused or rolled back, when it was.
    #[must_use]
    pub const fn blame(self) -> Option<Blame> {
        match self {
            Self::Refused(blame) | Self::RolledBack(_, blame) => Some(blame),
            Self::Held(blame) => blame,
            Self::Promoted | Self::Inconclusive | Self::Stopped => None,
        }
    }
}

/// The end of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// How.
    pub ending: Ending,
    /// When.
    pub at: Timestamp,
    /// How far it had come.
    pub reached: Reached,
    /// Whether the record is complete: notices sent, index cleaned.
    pub is_archived: bool,
}

/// Phase of a watched deployment, with what is known in it and only in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// No customer uses the new version yet.
    BeforeTraffic,
    /// Refused before traffic; the platform is ending it.
    Refused(Refusal),
    /// Traffic shifts.
    InShift(Shift),
    /// All traffic has moved, the last hook is held open.
    InBake(Bake),
    /// A rollback was decided.
    GoingBack {
        /// Where customers used the new version then.
        exposure: Exposure,
        /// How far it had come.
        reached: Reached,
    },
    /// Over.
    Closed(Closing),
}

impl Phase {
    /// Whether the deployment is over for Snapback.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Where customers use the new version now, when they do and no rollback was decided.
    #[must_use]
    pub const fn exposure(&self) -> Option<Exposure> {
        match self {
            Self::InShift(_) => Some(Exposure::Shift),
            Self::InBake(_) => Some(Exposure::Bake),
            Self::BeforeTraffic | Self::Refused(_) | Self::GoingBack { .. } | Self::Closed(_) => None,
        }
    }

    /// Why it was refused before traffic, once it was, also when that did not take effect.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::BeforeTraffic => None,
            Self::Refused(refusal) => Some(refusal),
            Self::InShift(shift) => shift.refusal.as_ref(),
            Self::InBake(bake) => bake.refusal.as_ref(),
            Self::GoingBack { reached, .. } => reached.refusal(),
            Self::Closed(closing) => closing.reached.refusal(),
        }
    }

    /// The bake, once it began.
    #[must_use]
    pub const fn bake(&self) -> Option<&Bake> {
        match self {
            Self::BeforeTraffic | Self::Refused(_) | Self::InShift(_) => None,
            Self::InBake(bake) => Some(bake),
            Self::GoingBack { reached, .. } => reached.bake(),
            Self::Closed(closing) => closing.reached.bake(),
        }
    }

    /// The end, once it came.
    #[must_use]
    pub const fn closing(&self) -> Option<&Closing> {
        match self {
            Self::Closed(closing) => Some(closing),
            Self::BeforeTraffic | Self::Refused(_) | Self::InShift(_) | Self::InBake(_) | Self::GoingBack { .. } => {
                None
            }
        }
    }

    /// The word that is stored.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::BeforeTraffic => "before-traffic",
            Self::Refused(_) => "refused",
            Self::InShift(_) => "in-shift",
            Self::InBake(_) => "in-bake",
            Self::GoingBack { .. } => "going-back",
            Self::Closed(_) => "closed",
        }
    }

    fn reached(self) -> Reached {
        match self {
            Self::BeforeTraffic => Reached::BeforeTraffic,
            Self::Refused(refusal) => Reached::Refused(refusal),
            Self::InShift(shift) => Reached::Shift(shift),
            Self::InBake(bake) => Reached::Bake(bake),
            Self::GoingBack { reached, .. } | Self::Closed(Closing { reached, .. }) => reached,
        }
    }

    fn closed(self, ending: Ending, at: Timestamp) -> Self {
        Self::Closed(Closing { ending, at, reached: self.reached(), is_archived: false })
    }
}

/// What happened to a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The new version began to get traffic.
    TrafficStarted,
    /// The last hook is held open.
    BakeStarted {
        /// When its event began.
        at: Timestamp,
        /// When it is answered if all is well.
        ends_at: Timestamp,
    },
    /// Refused before traffic.
    RefusalDecided(Refusal),
    /// A rollback was decided, by us or by the platform, with this exposure.
    RollbackDecided(Exposure),
    /// It is over, since then.
    Ended(Ending, Timestamp),
}

impl Event {
    const fn word(&self) -> &'static str {
        match self {
            Self::TrafficStarted => "traffic started",
            Self::BakeStarted { .. } => "bake started",
            Self::RefusalDecided(_) => "refused",
            Self::RollbackDecided(_) => "rollback decided",
            Self::Ended(..) => "ended",
        }
    }
}

/// An event that cannot happen in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event `{event}` cannot happen in phase {phase}")]
pub struct IllegalTransition {
    /// Word of the phase.
    pub phase: &'static str,
    /// The event, in words.
    pub event: &'static str,
}

impl Phase {
    /// The phase after `event`. An event that was applied before, or that is older than the phase, changes nothing:
    /// events arrive at least once and in any order.
    ///
    /// # Errors
    /// When the event contradicts the phase, for example a promotion after a rollback was decided.
    pub fn next(&self, event: Event) -> Result<Self, IllegalTransition> {
        match (self.clone(), event) {
            (Self::BeforeTraffic, Event::TrafficStarted) => Ok(Self::InShift(Shift::default())),
            // Traffic in spite of a refusal: the answer did not take effect, so the deployment is judged (and undone).
            (Self::Refused(refusal), Event::TrafficStarted) => Ok(Self::InShift(Shift { refusal: Some(refusal) })),
            (Self::BeforeTraffic, Event::RefusalDecided(refusal)) => Ok(Self::Refused(refusal)),
            (Self::BeforeTraffic, Event::BakeStarted { at, ends_at }) => Ok(Self::InBake(Bake::new(at, ends_at))),
            (Self::InShift(shift), Event::BakeStarted { at, ends_at }) => {
                Ok(Self::InBake(Bake { refusal: shift.refusal, ..Bake::new(at, ends_at) }))
            }
            // Snapback may have missed everything in between (it was down): a rollback of CodeDeploy is seen in any phase.
            (
                from @ (Self::BeforeTraffic | Self::InShift(_) | Self::InBake(_) | Self::Refused(_)),
                Event::RollbackDecided(exposure),
            ) => Ok(Self::GoingBack { exposure, reached: from.reached() }),
            (from @ (Self::BeforeTraffic | Self::InShift(_) | Self::InBake(_)), Event::Ended(ending, at))
                if !ending.outcome().is_rolled_back() =>
            {
                Ok(from.closed(ending, at))
            }
            (
                from @ Self::Refused(_),
                Event::Ended(ending @ (Ending::Refused(_) | Ending::Held(_) | Ending::Stopped), at),
            ) => Ok(from.closed(ending, at)),
            // A rollback that could not be done ends `held`: a person has to look. It never ends `promoted`.
            (from @ Self::GoingBack { exposure, .. }, Event::Ended(ending, at))
                if ending.outcome() == exposure.rolled_back()
                    || matches!(ending, Ending::Held(_) | Ending::Stopped) =>
            {
                Ok(from.closed(ending, at))
            }
            // Delivered twice, or late: nothing new.
            (
                same @ (Self::InShift(_) | Self::InBake(_) | Self::GoingBack { .. } | Self::Closed(_)),
                Event::TrafficStarted,
            )
            | (same @ (Self::InBake(_) | Self::GoingBack { .. } | Self::Closed(_)), Event::BakeStarted { .. })
            | (
                same @ (Self::Refused(_) | Self::Closed(Closing { ending: Ending::Refused(_), .. })),
                Event::RefusalDecided(_),
            )
            | (same @ (Self::GoingBack { .. } | Self::Closed(_)), Event::RollbackDecided(_)) => Ok(same),
            (Self::Closed(before), Event::Ended(ending, _)) if before.ending.outcome() == ending.outcome() => {
                Ok(Self::Closed(before))
            }
            (phase, event) => Err(IllegalTransition { phase: phase.word(), event: event.word() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLAME: Blame = Blame { cause: Cause::Errors, trigger: Trigger::Alarm };

    fn second(second: i64) -> Timestamp {
        Timestamp::from_ms(second * 1000)
    }

    fn refusal() -> Refusal {
        Refusal { blame: BLAME, why: "invoke: status 500".to_owned(), at: second(5) }
    }

    fn ending(outcome: Outcome) -> Ending {
        Ending::new(outcome, Some(BLAME)).or(Ending::new(outcome, None)).unwrap()
    }

    fn closed(outcome: Outcome) -> Phase {
        let reached = Reached::Bake(Bake::new(second(20), second(30)));
        Phase::Closed(Closing { ending: ending(outcome), at: second(90), reached, is_archived: false })
    }

    fn phases() -> Vec<Phase> {
        let going_back = |exposure| Phase::GoingBack { exposure, reached: Reached::Shift(Shift::default()) };
        let mut all = vec![
            Phase::BeforeTraffic,
            Phase::Refused(refusal()),
            Phase::InShift(Shift::default()),
            Phase::InBake(Bake::new(second(20), second(30))),
            going_back(Exposure::Shift),
            going_back(Exposure::Bake),
        ];
        all.extend(Outcome::ALL.iter().map(|outcome| closed(*outcome)));
        all
    }

    fn events() -> Vec<Event> {
        let mut all = vec![
            Event::TrafficStarted,
            Event::BakeStarted { at: second(21), ends_at: second(31) },
            Event::RefusalDecided(Refusal { why: "alarms: red".to_owned(), ..refusal() }),
            Event::RollbackDecided(Exposure::Shift),
            Event::RollbackDecided(Exposure::Bake),
        ];
        all.extend(Outcome::ALL.iter().map(|outcome| Event::Ended(ending(*outcome), second(91))));
        all
    }

    fn phase_word(phase: &Phase) -> String {
        match phase {
            Phase::BeforeTraffic => "BeforeTraffic".to_owned(),
            Phase::Refused(_) => "Refused".to_owned(),
            Phase::InShift(_) => "InShift".to_owned(),
            Phase::InBake(_) => "InBake".to_owned(),
            Phase::GoingBack { exposure, .. } => format!("GoingBack({exposure:?})"),
            Phase::Closed(closing) => format!("Closed({:?})", closing.ending.outcome()),
        }
    }

    fn event_word(event: &Event) -> String {
        match event {
            Event::TrafficStarted => "TrafficStarted".to_owned(),
            Event::BakeStarted { .. } => "BakeStarted".to_owned(),
            Event::RefusalDecided(_) => "RefusalDecided".to_owned(),
            Event::RollbackDecided(exposure) => format!("RollbackDecided({exposure:?})"),
            Event::Ended(ending, _) => format!("Ended({:?})", ending.outcome()),
        }
    }

    /// The whole phase × event grid: a new variant shows up as a diff of `lifecycle.grid.txt`.
    #[test]
    fn grid() {
        let mut text = String::new();
        for phase in phases() {
            for event in events() {
                let next = match phase.next(event.clone()) {
                    Ok(next) if next == phase => "same".to_owned(),
                    Ok(next) => phase_word(&next),
                    Err(_) => "refused".to_owned(),
                };
                text.push_str(&format!("{} + {} = {next}\n", phase_word(&phase), event_word(&event)));
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

    #[test]
    fn what_was_known_before_is_carried_on() {
        let refused = Phase::BeforeTraffic.next(Event::RefusalDecided(refusal())).unwrap();
        let shift = refused.next(Event::TrafficStarted).unwrap();
        let bake = shift.next(Event::BakeStarted { at: second(20), ends_at: second(30) }).unwrap();
        let going_back = bake.next(Event::RollbackDecided(Exposure::Bake)).unwrap();
        let closed = going_back.next(Event::Ended(ending(Outcome::RolledBackInBake), second(40))).unwrap();
        for phase in [&refused, &shift, &bake, &going_back, &closed] {
            assert_eq!(phase.refusal(), Some(&refusal()), "{phase:?}");
        }
        for phase in [&bake, &going_back, &closed] {
            let times = phase.bake().map(|bake| (bake.started_at, bake.ends_at));
            assert_eq!(times, Some((second(20), second(30))), "{phase:?}");
        }
        let closing = closed.closing().unwrap();
        assert_eq!((closing.at, closing.ending.blame(), closing.is_archived), (second(40), Some(BLAME), false));
    }

    #[test]
    fn an_ending_has_what_belongs_to_it() {
        for outcome in Outcome::ALL {
            let endings: Vec<Ending> =
                [None, Some(BLAME)].into_iter().filter_map(|blame| Ending::new(*outcome, blame)).collect();
            assert_eq!(endings.len(), if *outcome == Outcome::Held { 2 } else { 1 }, "{outcome}");
            assert!(endings.iter().all(|ending| ending.outcome() == *outcome), "{outcome}");
        }
    }

    proptest! {
        #[test]
        fn a_decided_rollback_is_never_promoted(choices in prop::collection::vec(0usize..64, 1..40)) {
            let (mut phase, mut decided) = (Phase::BeforeTraffic, false);
            for choice in choices {
                let all = events();
                let event = all[choice % all.len()].clone();
                if let Ok(next) = phase.next(event.clone()) {
                    decided |= matches!(next, Phase::GoingBack { .. });
                    prop_assert!(!phase.is_closed() || next == phase, "left {phase:?}");
                    prop_assert_eq!(next.next(event), Ok(next.clone()), "an event applied twice equals once");
                    phase = next;
                }
            }
            let promoted = phase.closing().is_some_and(|closing| closing.ending.outcome().is_good());
            prop_assert!(!(decided && promoted));
        }
    }
}
