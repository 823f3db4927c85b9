//! The closed vocabularies of Snapback. Each word is written once, here; unknown words are errors, never a default.

use std::fmt;

/// A word that is not in one of the vocabularies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{word}`, allowed is one of: {allowed}")]
pub struct UnknownWord {
    /// Which vocabulary, for example `cause`.
    pub kind: &'static str,
    /// What was found.
    pub word: String,
    /// The words that exist.
    pub allowed: String,
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $kind:literal, { $($(#[$variant_meta:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            /// Every word of this vocabulary, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is stored, printed and sent.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| UnknownWord {
                    kind: $kind,
                    word: word.chars().take(64).collect(),
                    allowed: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

words!(
    /// The kinds of customer impact that a policy watches.
    Signal, "signal", {
        /// Failed requests: 4xx, 5xx, function errors.
        Errors => "errors",
        /// Slow requests.
        Latency => "latency",
        /// Requests that get no answer, or traffic that is gone.
        Availability => "availability",
        /// Business transactions that fail.
        Transactions => "transactions",
        /// A service level objective whose error budget burns.
        Sla => "sla",
    }
);

words!(
    /// Why a version was rolled back or refused.
    Cause, "cause", {
        /// Error rate.
        Errors => "errors",
        /// Latency.
        Latency => "latency",
        /// Availability.
        Availability => "availability",
        /// Failed transactions.
        Transactions => "transactions",
        /// An objective burns its budget too fast.
        Sla => "sla",
        /// A check before traffic found the version bad.
        CheckFailed => "check-failed",
        /// Nobody could tell that the version is good.
        NoEvidence => "no-evidence",
        /// A person asked for it.
        Operator => "operator",
    }
);

impl Cause {
    /// Whether this cause says something about the version itself, so that its revision is refused for a time.
    #[must_use]
    pub const fn blames_revision(self) -> bool {
        match self {
            Self::Errors | Self::Latency | Self::Availability | Self::Transactions | Self::Sla => true,
            Self::CheckFailed | Self::NoEvidence | Self::Operator => false,
        }
    }
}

impl From<Signal> for Cause {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Errors => Self::Errors,
            Signal::Latency => Self::Latency,
            Signal::Availability => Self::Availability,
            Signal::Transactions => Self::Transactions,
            Signal::Sla => Self::Sla,
        }
    }
}

words!(
    /// The path on which a rollback or a refusal took effect.
    Trigger, "trigger", {
        /// An alarm event.
        Alarm => "alarm",
        /// The watcher's sweep found it.
        Sweep => "sweep",
        /// A lifecycle hook of ours.
        Hook => "hook",
        /// The hook watchdog, for a hook that did not answer.
        Watchdog => "watchdog",
        /// CodeDeploy by itself.
        CodeDeploy => "codedeploy",
        /// A CloudFormation stack.
        Stack => "stack",
        /// A person.
        Operator => "operator",
    }
);

words!(
    /// How a deployment ended.
    Outcome, "outcome", {
        /// Ended well, without a warning.
        Promoted => "promoted",
        /// Ended well after a warning, without a hold in shift or bake.
        Inconclusive => "inconclusive",
        /// Stopped before any traffic reached the new version.
        RefusedBeforeTraffic => "refused-before-traffic",
        /// Rolled back while traffic shifted.
        RolledBackInShift => "rolled-back-in-shift",
        /// Rolled back in its bake.
        RolledBackInBake => "rolled-back-in-bake",
        /// Held in shift or bake, then ended without a rollback.
        Held => "held",
        /// Ended by somebody without a rollback; neither good nor refused.
        Stopped => "stopped",
    }
);

impl Outcome {
    /// Whether traffic went back to the old version.
    #[must_use]
    pub const fn is_rolled_back(self) -> bool {
        matches!(self, Self::RolledBackInShift | Self::RolledBackInBake)
    }

    /// Whether the new version becomes a last known good one.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Promoted | Self::Inconclusive)
    }
}

words!(
    /// How far Snapback may go.
    Mode, "mode", {
        /// Record only.
        Observe => "observe",
        /// Record and tell people.
        Advise => "advise",
        /// Refuse and roll back too.
        Rollback => "rollback",
    }
);

words!(
    /// The lifecycle events of a deployment that hooks of ours answer.
    LifecycleEvent, "lifecycle event", {
        /// Before any traffic reaches the new version.
        BeforeAllowTraffic => "BeforeAllowTraffic",
        /// After all traffic has moved.
        AfterAllowTraffic => "AfterAllowTraffic",
    }
);

words!(
    /// The two answers that CodeDeploy accepts for a lifecycle hook.
    HookStatus, "hook status", {
        /// Go on.
        Succeeded => "Succeeded",
        /// Stop, and roll back where the group says so.
        Failed => "Failed",
    }
);

words!(
    /// The signals that the detector compares, in the order of its weight table.
    Metric, "metric", {
        /// 5xx answers and function errors, of the requests.
        E5 => "e5",
        /// Failed transactions, of the transactions.
        Tx => "tx",
        /// Requests slower than the baseline's median.
        Q50 => "q50",
        /// Requests slower than the baseline's 90th percentile.
        Q90 => "q90",
        /// Requests slower than the baseline's 99th percentile.
        Q99 => "q99",
        /// 4xx answers, of the requests.
        E4 => "e4",
        /// Requests that arrive: too few is bad.
        Traffic => "traffic",
    }
);

impl From<Metric> for Signal {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::E5 | Metric::E4 => Self::Errors,
            Metric::Q50 | Metric::Q90 | Metric::Q99 => Self::Latency,
            Metric::Tx => Self::Transactions,
            Metric::Traffic => Self::Availability,
        }
    }
}

impl From<Metric> for Cause {
    fn from(metric: Metric) -> Self {
        Signal::from(metric).into()
    }
}

words!(
    /// What the detector says about the new version.
    Verdict, "verdict", {
        /// Nothing decided yet.
        Continue => "continue",
        /// Worse than the old version.
        Rollback => "rollback",
        /// Watched to the end, and a much worse version would have been seen.
        Pass => "pass",
        /// Watched to the end, and there was too little to tell.
        Inconclusive => "inconclusive",
    }
);

words!(
    /// What the new version is compared with.
    Comparison, "comparison", {
        /// The old version at the same time.
        Concurrent => "concurrent",
        /// The old version before the shift.
        BeforeAfter => "before-after",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_parses_back_and_unknown_words_are_errors() {
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse::<Cause>().as_ref(), Ok(cause));
        }
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse::<Outcome>().as_ref(), Ok(outcome));
        }
        let error = "okay".parse::<Outcome>().unwrap_err();
        assert!(error.to_string().contains("unknown outcome `okay`"), "{error}");
        assert!("Errors".parse::<Cause>().is_err(), "case matters");
    }
}
