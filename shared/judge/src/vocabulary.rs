//! The closed vocabularies of judging. Each word is written once, here; unknown words are errors, never a default.

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

/// A closed vocabulary: an enum with `ALL`, `as_str`, `Display` and `FromStr`. Each word is written once, where it is defined;
/// unknown words are errors ([`UnknownWord`](crate::vocabulary::UnknownWord)), never a default.
#[macro_export]
macro_rules! vocabulary {
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

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::vocabulary::UnknownWord;
            fn from_str(word: &str) -> Result<Self, $crate::vocabulary::UnknownWord> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| $crate::vocabulary::UnknownWord {
                    kind: $kind,
                    word: word.chars().take(64).collect(),
                    allowed: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

vocabulary!(
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
        Slo => "slo",
    }
);

vocabulary!(
    /// The signals that the detector compares, in the order of its weight table.
    Metric, "metric", {
        /// 5xx answers and function errors, of the requests.
        E5 => "e5",
        /// Failed transactions, of the transactions.
        Tx => "tx",
        /// Requests slower than the baseline's 90th percentile.
        Q90 => "q90",
        /// Requests slower than the baseline's 99th percentile.
        Q99 => "q99",
        /// 4xx answers, of the requests.
        E4 => "e4",
        /// The whole distribution of latencies.
        Body => "body",
        /// Requests that arrive: too few is bad.
        Traffic => "traffic",
        /// Snapback's own requests to both versions, by the minute.
        Probe => "probe",
        /// The same in pairs, by the second.
        Pair => "pair",
    }
);

impl Metric {
    /// Those that the detector compares by the bucket, in its order.
    pub const COMPARED: [Self; 8] =
        [Self::E5, Self::Tx, Self::Q90, Self::Q99, Self::E4, Self::Body, Self::Traffic, Self::Probe];

    /// What it counts, for people.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::E5 => "5xx answers and function errors",
            Self::Tx => "failed transactions",
            Self::Q90 => "requests slower than the old version's 90th percentile (the new one's by a margin)",
            Self::Q99 => "requests slower than the old version's 99th percentile (the new one's by a margin)",
            Self::E4 => "4xx answers",
            Self::Body => "latency of all requests",
            Self::Traffic => "requests that arrive",
            Self::Probe => "failed probes",
            Self::Pair => "failed pairs of probes",
        }
    }
}

impl From<Metric> for Signal {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::E5 | Metric::E4 | Metric::Probe | Metric::Pair => Self::Errors,
            Metric::Q90 | Metric::Q99 | Metric::Body => Self::Latency,
            Metric::Tx => Self::Transactions,
            Metric::Traffic => Self::Availability,
        }
    }
}

vocabulary!(
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

vocabulary!(
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
        for metric in Metric::ALL {
            assert_eq!(metric.as_str().parse::<Metric>().as_ref(), Ok(metric));
        }
        let error = "maybe".parse::<Verdict>().unwrap_err();
        assert!(error.to_string().contains("unknown verdict `maybe`"), "{error}");
        assert!("Errors".parse::<Signal>().is_err(), "case matters");
    }
}
