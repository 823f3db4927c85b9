//! What the pairs saw, in words for a person on call.

use super::state::{EpisodeTotals, PairState};
use crate::share::Share;

impl PairState {
    /// The open or else the latest episode in one line, without a full stop, so that the caller can add the probe and its
    /// last answer; `None`: there was no episode.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let episode = self.episode?;
        let seconds = u64::from(episode.last_failed_s.saturating_sub(episode.opened_s)) + 1;
        let EpisodeTotals { baseline, canary, .. } = episode.totals;
        let pairs =
            format!("new version failed {} of {} pairs in {seconds} s, old {}", canary.bad, canary.all, baseline.bad);
        Some(pairs + &episode.totals.bursts())
    }
}

impl EpisodeTotals {
    /// `; 3 bursts: 10, 10, 10 of 10 failed, in at least 7 environments`, or nothing.
    fn bursts(&self) -> String {
        let shown: Vec<Share> = self.last_bursts.into_iter().filter(|burst| burst.all > 0).collect();
        let Some(Share { all, .. }) = shown.last() else { return String::new() };
        let failed = if shown.iter().all(|burst| burst.all == *all) {
            let failed: Vec<String> = shown.iter().map(|burst| burst.bad.to_string()).collect();
            format!("{} of {all} failed", failed.join(", "))
        } else {
            let failed: Vec<String> = shown.iter().map(|burst| format!("{} of {}", burst.bad, burst.all)).collect();
            format!("{} failed", failed.join(", "))
        };
        let bursts = match self.bursts {
            1 => "1 burst".to_owned(),
            all if usize::try_from(all) == Ok(shown.len()) => format!("{all} bursts"),
            all => format!("last {} of {all} bursts", shown.len()),
        };
        let environments = match self.environments {
            None => String::new(),
            Some(1) => ", in at least 1 environment".to_owned(),
            Some(environments) => format!(", in at least {environments} environments"),
        };
        format!("; {bursts}: {failed}{environments}")
    }
}
