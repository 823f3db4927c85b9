//! The closed vocabularies of Snapback. Each word is written once, here; unknown words are errors, never a default.

use snapback_judge::vocabulary;
pub use snapback_judge::vocabulary::{Signal, UnknownWord};

vocabulary!(
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
        Slo => "slo",
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
            Self::Errors | Self::Latency | Self::Availability | Self::Transactions | Self::Slo => true,
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
            Signal::Slo => Self::Slo,
        }
    }
}

vocabulary!(
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
        /// The platform by itself: CodeDeploy rolled back on its own.
        Platform => "platform",
        /// A CloudFormation stack.
        Stack => "stack",
        /// A person.
        Operator => "operator",
    }
);

vocabulary!(
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

vocabulary!(
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

vocabulary!(
    /// The lifecycle events of a deployment that hooks of ours answer.
    LifecycleEvent, "lifecycle event", {
        /// Before any traffic reaches the new version.
        BeforeAllowTraffic => "BeforeAllowTraffic",
        /// After all traffic has moved.
        AfterAllowTraffic => "AfterAllowTraffic",
    }
);

vocabulary!(
    /// The two answers that CodeDeploy accepts for a lifecycle hook.
    HookStatus, "hook status", {
        /// Go on.
        Succeeded => "Succeeded",
        /// Stop, and roll back where the group says so.
        Failed => "Failed",
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
