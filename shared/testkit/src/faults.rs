//! What goes wrong on purpose.

use snapback_app::ports::CallErrorKind;

/// How one call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It fails and nothing happens.
    Fail(CallErrorKind),
    /// It happens, but the answer is lost: the caller sees this error.
    LoseAnswer(CallErrorKind),
    /// The function dies before the call takes effect.
    CrashBefore,
    /// The function dies after the call took effect.
    CrashAfter,
}

/// The `at`-th call over all ports (the first is 1) goes wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which call.
    pub at: u64,
    /// How.
    pub how: How,
}

/// Random trouble, each as a probability of 0.0 to 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Chaos {
    /// A call fails before it takes effect.
    pub fail: f64,
    /// The answer of a call is lost.
    pub lose_answer: f64,
    /// A function dies before a call.
    pub crash_before: f64,
    /// A function dies after a call.
    pub crash_after: f64,
    /// An event is never delivered.
    pub lose_event: f64,
    /// An event is delivered twice.
    pub double_event: f64,
    /// An event comes up to two minutes late.
    pub late_event: f64,
    /// Whether the calls of the sweep go well all the same.
    pub spares_sweep: bool,
}

impl Chaos {
    /// What happens to one call, by the dice.
    pub(crate) fn roll(&self, rng: &mut fastrand::Rng) -> Option<How> {
        let table = [
            (self.fail, How::Fail(CallErrorKind::Unreachable)),
            (self.lose_answer, How::LoseAnswer(CallErrorKind::Unreachable)),
            (self.crash_before, How::CrashBefore),
            (self.crash_after, How::CrashAfter),
        ];
        let mut left = rng.f64();
        for (share, how) in table {
            if left < share {
                return Some(how);
            }
            left -= share;
        }
        None
    }
}
