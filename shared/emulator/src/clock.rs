//! Time on the emulator: real, except what AWS fixes in minutes or hours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The emulator's clock. `minute` is how long one AWS minute lasts here; all else runs in real time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    minute: Duration,
}

impl Clock {
    /// A clock whose AWS minute lasts `minute` (60 s is real time).
    #[must_use]
    pub fn new(minute: Duration) -> Self {
        Self { minute }
    }

    /// How long an AWS minute lasts here.
    #[must_use]
    pub fn minute(&self) -> Duration {
        self.minute
    }

    /// `aws` scaled to the emulator: shift intervals, schedule rates, async retry waits and event age, the hook hour, and
    /// the 60 s period of the two alarms of a deployment group.
    #[must_use]
    pub fn scaled(&self, aws: Duration) -> Duration {
        aws.mul_f64(self.minute.as_secs_f64() / 60.0)
    }

    /// Milliseconds since 1970 (UTC), unscaled.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
