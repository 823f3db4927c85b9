//! What a detector is: fed polls, it says when to roll back.

use crate::trace::{Arrivals, Plan, Witness};

/// What a detector knows of a deployment before the first poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficSchedule {
    /// Length of a bucket in seconds.
    pub bucket_s: i64,
    /// Seconds of the old version's past that the first poll brings.
    pub history_s: i64,
    /// How traffic is to shift.
    pub plan: Plan,
    /// Which witnesses are connected.
    pub witnesses: &'static [Witness],
}

/// What a detector says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet. The only answer to a poll beside [`Verdict::RollBack`].
    Continue,
    /// The new version is bad.
    RollBack,
    /// At the end: it is not.
    Pass,
    /// At the end: too little was seen to tell.
    Inconclusive,
}

/// A detector at work on one deployment.
pub trait Judge {
    /// Looks at what became visible; `now_s` is in seconds since the start. Called every ten seconds, in order, and not again
    /// after a rollback.
    fn poll(&mut self, now_s: i64, arrivals: &Arrivals) -> Verdict;

    /// The last word, when no poll asked for a rollback.
    fn end(&mut self) -> Verdict;
}

/// Where a method is described, or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Title of the document, or path of the file.
    pub title: &'static str,
    /// Tag or commit that was read; empty for a page that has none.
    pub version: &'static str,
    /// Its address.
    pub url: &'static str,
}

/// A detector with its name and where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Contestant {
    /// Short name for columns and legends.
    pub name: &'static str,
    /// What it does and with which settings, in a sentence or two.
    pub method: &'static str,
    /// Where that is described.
    pub sources: &'static [Source],
    /// Starts one on a deployment.
    pub start: fn(&TrafficSchedule) -> Box<dyn Judge>,
}
