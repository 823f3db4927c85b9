//! The kill switch: while a pause holds, Snapback judges and records as in mode `observe`, whatever the policies say.

use crate::Timestamp;
use crate::id::{GroupRef, InvalidId};
use crate::policy::Policy;
use crate::vocabulary::{Mode, Signal};
use std::fmt;

/// How the scope of a pause of everything is written.
const EVERYTHING: &str = "*";

/// What a pause covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseScope {
    /// The whole installation.
    Installation,
    /// One deployment group.
    Group(GroupRef),
}

impl PauseScope {
    /// Parses `*` or `application/group`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text == EVERYTHING { Ok(Self::Installation) } else { GroupRef::parse(text).map(Self::Group) }
    }

    /// Whether it covers `group`; `None`: nobody knows which group it is.
    #[must_use]
    pub fn covers(&self, group: Option<&GroupRef>) -> bool {
        match self {
            Self::Installation => true,
            Self::Group(own) => group == Some(own),
        }
    }

    /// As people read it.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Installation => "the whole installation".to_owned(),
            Self::Group(group) => format!("deployment group {group}"),
        }
    }
}

impl fmt::Display for PauseScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installation => f.write_str(EVERYTHING),
            Self::Group(group) => group.fmt(f),
        }
    }
}

/// Who asked for something, when, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution {
    /// When.
    pub at: Timestamp,
    /// Who, as the command line knows it.
    pub who: String,
    /// Why, in their words.
    pub why: String,
}

/// One pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What it covers.
    pub scope: PauseScope,
    /// How it began.
    pub began: Attribution,
    /// How it ended; `None`: it holds.
    pub ended: Option<Attribution>,
}

impl Pause {
    /// Whether it is not over.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.ended.is_none()
    }
}

/// The pause that holds for `group` (`None`: nobody knows which group it is): the one that began first.
#[must_use]
pub fn in_force<'a>(pauses: &'a [Pause], group: Option<&GroupRef>) -> Option<&'a Pause> {
    pauses.iter().filter(|pause| pause.holds() && pause.scope.covers(group)).min_by_key(|pause| pause.began.at)
}

/// The mode in which findings of `signal` are acted on now: the policy's, or `observe` while `pause` holds. Policies are pinned,
/// so this is the one place where a pause gets over them.
#[must_use]
pub fn mode_of(policy: &Policy, signal: Option<Signal>, pause: Option<&Pause>) -> Mode {
    if pause.is_some() { Mode::Observe } else { policy.mode_of(signal) }
}

/// What keeps Snapback from acting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restraint {
    /// A pause.
    Paused,
    /// The policy's mode.
    Mode(Mode),
}

impl fmt::Display for Restraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("paused"),
            Self::Mode(mode) => write!(f, "mode {mode}"),
        }
    }
}

/// What keeps Snapback from acting in `mode`, which is the one in force.
#[must_use]
pub fn restraint(mode: Mode, pause: Option<&Pause>) -> Restraint {
    if pause.is_some() { Restraint::Paused } else { Restraint::Mode(mode) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::SignalPolicy;

    fn group(text: &str) -> GroupRef {
        GroupRef::parse(text).unwrap()
    }

    fn attribution(second: i64) -> Attribution {
        Attribution { at: Timestamp::from_ms(second * 1000), who: "ann".to_owned(), why: "because".to_owned() }
    }

    fn pause(scope: &str, began: i64, ended: Option<i64>) -> Pause {
        Pause { scope: PauseScope::parse(scope).unwrap(), began: attribution(began), ended: ended.map(attribution) }
    }

    #[test]
    fn scopes_are_read_back() {
        for text in ["*", "shop/live", "*/live"] {
            assert_eq!(PauseScope::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "shop", "**", "a/b/c"] {
            assert!(PauseScope::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_pause_that_holds_for_a_group() {
        let (all, own, other) = (pause("*", 20, None), pause("shop/live", 10, None), pause("shop/test", 5, None));
        let (over, own_later) = (pause("*", 1, Some(2)), pause("shop/live", 30, None));
        // (case, pauses, second in which the one for shop/live began, the same for a group that nobody knows)
        let table = [
            ("none", Vec::new(), None, None),
            ("another group's", vec![&other], None, None),
            ("its own", vec![&own, &other], Some(10), None),
            ("everything", vec![&all], Some(20), Some(20)),
            ("one that is over", vec![&over], None, None),
            ("the older of two", vec![&all, &own], Some(10), Some(20)),
            ("the older of two, the other way round", vec![&own_later, &over, &all], Some(20), Some(20)),
        ];
        for (case, pauses, of_group, of_unknown) in table {
            let pauses: Vec<Pause> = pauses.into_iter().cloned().collect();
            let own = group("shop/live");
            let began = |group: Option<&GroupRef>| in_force(&pauses, group).map(|pause| pause.began.at.ms() / 1000);
            assert_eq!(began(Some(&own)), of_group, "{case}");
            assert_eq!(began(None), of_unknown, "{case}: a group that nobody knows");
        }
    }

    #[test]
    fn a_pause_is_over_every_mode() {
        let mut settings = (*Policy::without_parameter("checkout")).clone();
        settings.mode = Mode::Rollback;
        let latency = SignalPolicy { mode: Some(Mode::Advise), ..SignalPolicy::of_alarms(Vec::new()) };
        settings.signals.insert(Signal::Latency, latency);
        let policy = Policy::new(settings).unwrap();
        let paused = pause("*", 1, None);
        let table = [
            (None, None, Mode::Rollback, "mode rollback"),
            (Some(Signal::Latency), None, Mode::Advise, "mode advise"),
            (None, Some(&paused), Mode::Observe, "paused"),
            (Some(Signal::Latency), Some(&paused), Mode::Observe, "paused"),
        ];
        for (signal, pause, mode, words) in table {
            assert_eq!(mode_of(&policy, signal, pause), mode, "{signal:?} {words}");
            assert_eq!(restraint(mode, pause).to_string(), words);
        }
    }
}
