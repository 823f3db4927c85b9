//! What the pairs say at one poll.

use crate::vocabulary;

/// The answer to one poll.
#[derive(Debug, Clone, PartialEq)]
pub struct PairJudgement {
    /// ln E: natural log of what the pairs have won, their share [`WEIGHT`](super::WEIGHT) of the capital included; `None`
    /// before the first episode. ln(1/[`ALPHA`](super::ALPHA)) is enough.
    pub log_e: Option<f64>,
    /// Natural log of the likelihood ratio "several environments fail" to "one does", with the worst one forgiven. 7 is enough;
    /// `None` before the first episode, and after an episode what it came to.
    pub sure: Option<f64>,
    /// The canary is to be rolled back. It stays.
    pub rolls_back: bool,
    /// Number of the burst that is to be sent now, beside the pair of this second; then poll again a second later.
    pub sends_burst: Option<u32>,
    /// What was seen and may not roll back, at this poll.
    pub advice: Vec<PairAdvice>,
}

vocabulary!(
    /// What was seen and may not roll back.
    PairAdvice, "advice of the pairs", {
        /// The canary fails more than it may, but no more than one environment is known to.
        OneEnvironment => "pair:one-environment",
        /// The canary fails alone now and then, but the baseline fails too.
        OthersFail => "pair:others-fail",
        /// So few pairs are scored that a fault would not be seen.
        Blind => "pair:blind",
    }
);

impl PairAdvice {
    /// The code, as it stands in a judgement.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.as_str()
    }

    /// The advice in words.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::OneEnvironment => {
                "the new version fails its probes, but it is not proven that more than one execution environment does"
            }
            Self::OthersFail => "the old version fails its probes too: going back may not help",
            Self::Blind => "fewer than 20 pairs of probes in a minute could be compared: a fault would not be seen",
        }
    }
}
