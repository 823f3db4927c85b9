//! What was seen, but may not roll back.

use super::counts::MAX_PEERS;
use crate::pairs::{FastPathOff, PairAdvice};
use crate::vocabulary::{Metric, UnknownWord};
use std::fmt;

/// Something that a person should know, and that is no reason to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// No record of either version for minutes, although there usually is traffic.
    NoRecord,
    /// The new version looked worse while others failed too.
    OthersFail,
    /// This metric got worse after the shift: perhaps with something that the version depends on.
    Late(Metric),
    /// This metric surely differs, but within the margin.
    Margin(Metric),
    /// The pairs of probes saw something.
    Pair(PairAdvice),
    /// No pair of probes rolls back in this deployment, and why.
    PairsOff(FastPathOff),
    /// This one of the other services behind the same dependencies, counted from 0, had no request before the shift.
    NoPeer(u8),
}

impl Note {
    /// Most pieces of advice of one deployment: the first two, two of each metric but the two that need none, those of the pairs,
    /// and one of each peer.
    pub const MAX: usize = 2 + 2 * 6 + PairAdvice::ALL.len() + FastPathOff::ALL.len() + MAX_PEERS;

    /// Every piece of advice that there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        let metrics =
            || Metric::COMPARED.into_iter().filter(|metric| !matches!(metric, Metric::Traffic | Metric::Probe));
        [Self::NoRecord, Self::OthersFail]
            .into_iter()
            .chain(metrics().map(Self::Late))
            .chain(metrics().map(Self::Margin))
            .chain(PairAdvice::ALL.iter().copied().map(Self::Pair))
            .chain(FastPathOff::ALL.iter().copied().map(Self::PairsOff))
            .chain((0_u8..).take(MAX_PEERS).map(Self::NoPeer))
    }

    /// What it means, for people.
    #[must_use]
    pub fn sentence(self) -> String {
        match self {
            Self::NoRecord => {
                "no numbers of either version came for minutes; missing numbers count against nobody".to_owned()
            }
            Self::OthersFail => {
                "the new version looked worse while others failed too, so it is not blamed for that".to_owned()
            }
            Self::Late(metric) => format!(
                "{} got worse some minutes after the shift; that looks the same as an incident of something the version depends on",
                metric.what()
            ),
            Self::Margin(metric) => format!("{} surely got worse, but by less than the margin", metric.what()),
            Self::Pair(advice) => advice.sentence().to_owned(),
            Self::PairsOff(reason) => format!("the fast path is off: {}", reason.sentence()),
            Self::NoPeer(index) => format!(
                "function {} of witness.peers had no request before the shift, or is not there: it is no witness",
                u32::from(index) + 1
            ),
        }
    }
}

/// The code: `no-record`, `others-fail`, `late:e5`, `margin:q99`, `pair:blind`, `pair:off:slow-function`, `no-peer:1`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecord => f.write_str("no-record"),
            Self::OthersFail => f.write_str("others-fail"),
            Self::Late(metric) => write!(f, "late:{metric}"),
            Self::Margin(metric) => write!(f, "margin:{metric}"),
            Self::Pair(advice) => f.write_str(advice.code()),
            Self::PairsOff(reason) => write!(f, "pair:off:{reason}"),
            Self::NoPeer(index) => write!(f, "no-peer:{}", u32::from(*index) + 1),
        }
    }
}

impl std::str::FromStr for Note {
    type Err = UnknownWord;

    fn from_str(code: &str) -> Result<Self, UnknownWord> {
        Self::all().find(|advice| advice.to_string() == code).ok_or_else(|| UnknownWord {
            kind: "advice",
            word: code.chars().take(64).collect(),
            allowed: Self::all().map(|advice| advice.to_string()).collect::<Vec<_>>().join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_another() {
        let mut codes: Vec<String> = Note::all().map(|advice| advice.to_string()).collect();
        assert_eq!(codes.len(), Note::MAX);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Note::MAX);
        assert!(codes.contains(&"late:body".to_owned()), "{codes:?}");
    }
}
