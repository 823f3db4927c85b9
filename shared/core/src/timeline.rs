//! The timeline of a deployment: what happened, line by line.

use crate::Timestamp;
use std::collections::BTreeMap;

/// Kind of an evidence item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// The deployment was seen for the first time.
    Registered,
    /// Something in its configuration weakens the protection.
    Warning,
    /// A check before traffic.
    Check,
    /// An alarm changed its state.
    Alarm,
    /// The life cycle moved on.
    Phase,
    /// A verdict, with numbers.
    Verdict,
    /// A call that changes something, with its answer.
    Call,
    /// A hook was answered.
    Answer,
    /// A person asked for something.
    Request,
    /// A pause began or ended.
    Pause,
    /// An event that changes nothing.
    Note,
    /// The outcome.
    Closed,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::Registered,
        Self::Warning,
        Self::Check,
        Self::Alarm,
        Self::Phase,
        Self::Verdict,
        Self::Call,
        Self::Answer,
        Self::Request,
        Self::Pause,
        Self::Note,
        Self::Closed,
    ];

    /// The word in the record's key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Warning => "warning",
            Self::Check => "check",
            Self::Alarm => "alarm",
            Self::Phase => "phase",
            Self::Verdict => "verdict",
            Self::Call => "call",
            Self::Answer => "answer",
            Self::Request => "request",
            Self::Pause => "pause",
            Self::Note => "note",
            Self::Closed => "closed",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// One line of a deployment's timeline, append-only. The same source at the same time is the same item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When it happened (the source's own time, so that a repeated event is the same item).
    pub at: Timestamp,
    /// Kind.
    pub kind: EntryKind,
    /// What makes it the same item when it is written twice: an event id, or the content.
    pub source: String,
    /// One line for people.
    pub text: String,
    /// Numbers and names, for machines.
    pub details: BTreeMap<String, String>,
}

impl TimelineEntry {
    /// A line whose content is its identity.
    #[must_use]
    pub fn new(at: Timestamp, kind: EntryKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { at, kind, source: text.clone(), text, details: BTreeMap::new() }
    }

    /// With `source` as identity.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// With one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}
