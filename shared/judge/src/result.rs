//! What the numbers of the two versions say at one moment.

use crate::detector::Note;
use crate::series::SourceId;
use crate::time::Timestamp;
use crate::vocabulary::Signal;

/// The numbers speak against the new version.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Kind of impact.
    pub signal: Signal,
    /// The numbers in one line, for people.
    pub why: String,
    /// First moment of impact that it shows.
    pub impact_started_at: Option<Timestamp>,
    /// Whether it is enough alone to go back; else something more must blame the new version.
    pub is_sufficient: bool,
    /// Whether both versions were compared in the same minutes, so that no shared incident can explain it.
    pub is_concurrent: bool,
}

/// What the comparison says now.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisResult {
    /// Pairs of probes fail on the new version alone, and on more than one of its environments: no incident and no share of the
    /// traffic can explain that.
    pub paired: Option<Detection>,
    /// The new version is worse, by signals that may roll back.
    pub verdict: Option<Detection>,
    /// It is worse, by signals that may only tell.
    pub advice: Option<Detection>,
    /// The objective's budget burns too fast.
    pub burning: Option<Detection>,
    /// What was seen of signals that may roll back, but may not be laid to the version, in order of first appearance.
    pub notes: Vec<Note>,
    /// Everything before this is judged.
    pub until: Timestamp,
    /// Whether there was enough traffic to tell.
    pub is_conclusive: bool,
    /// Sources that had no data in the history, although there were requests: a wrong name looks like this.
    pub missing: Vec<SourceId>,
    /// Whether what was judged before could not be read, so that everything was judged anew from the start of the shift.
    pub is_restarted: bool,
    /// Why the numbers could not be read just now, when they could not.
    pub unreadable: Option<String>,
}

impl AnalysisResult {
    /// Nothing was compared yet.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            paired: None,
            verdict: None,
            advice: None,
            burning: None,
            notes: Vec::new(),
            until: Timestamp::from_ms(0),
            is_conclusive: false,
            missing: Vec::new(),
            is_restarted: false,
            unreadable: None,
        }
    }
}
