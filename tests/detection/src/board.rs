//! All outcomes of a benchmark, and the questions that tables and plots ask.

use crate::judge::Contestant;
use crate::run::Series;
use crate::score::{Cell, Outcome};
use crate::trace::Class;

/// What one detector did with all deployments.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which detector.
    pub contestant: Contestant,
    /// What it did, in the order of the deployments.
    pub outcomes: Vec<Outcome>,
}

/// All outcomes; the first row is the detector that is compared with the others.
#[derive(Debug, Clone)]
pub struct Board {
    /// Which deployments.
    pub series: Series,
    /// One row for each detector.
    pub rows: Vec<Row>,
    /// The first detector again, without any witness.
    pub alone: Row,
}

impl Row {
    /// The outcomes for which `which` holds, put together.
    #[must_use]
    pub fn cell(&self, which: impl Fn(&Outcome) -> bool) -> Cell {
        Cell::of(self.outcomes.iter().filter(|outcome| which(outcome)))
    }

    /// All bad deployments.
    #[must_use]
    pub fn bad(&self) -> Cell {
        self.cell(|outcome| outcome.spec.class.is_bad())
    }

    /// All healthy deployments.
    #[must_use]
    pub fn healthy(&self) -> Cell {
        self.cell(|outcome| !outcome.spec.class.is_bad())
    }

    /// All deployments of a class.
    #[must_use]
    pub fn class(&self, class: Class) -> Cell {
        self.cell(|outcome| outcome.spec.class == class)
    }

    /// Bad or healthy deployments at this request rate.
    #[must_use]
    pub fn at_rate(&self, is_bad: bool, rate: f64) -> Cell {
        self.cell(|outcome| outcome.spec.class.is_bad() == is_bad && outcome.spec.rate.total_cmp(&rate).is_eq())
    }

    /// Deployments of a class at this request rate.
    #[must_use]
    pub fn class_at_rate(&self, class: Class, rate: f64) -> Cell {
        self.cell(|outcome| outcome.spec.class == class && outcome.spec.rate.total_cmp(&rate).is_eq())
    }
}

/// Per thousand, for false rollbacks.
#[must_use]
pub fn per_thousand(share: f64) -> String {
    let value = share * 1000.0;
    if value > 0.0 && value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Per cent without decimals, except for small shares.
#[must_use]
pub fn per_cent(share: f64) -> String {
    let value = share * 100.0;
    if value > 0.0 && value < 2.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Minutes and seconds.
#[must_use]
pub fn minutes(seconds: f64) -> String {
    let whole = crate::math::count((seconds + 0.5).floor());
    format!("{}:{:02}", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0.0, 0.0047, 0.012, 0.5].map(per_thousand), ["0", "4.7", "12", "500"]);
        assert_eq!([0.0, 0.004, 0.12, 1.0].map(per_cent), ["0", "0.4", "12", "100"]);
        assert_eq!([0.0, 59.5, 61.0, 1320.0].map(minutes), ["0:00", "1:00", "1:01", "22:00"]);
    }
}
