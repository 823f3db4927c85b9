//! Plays deployments to detectors.

use crate::generate::generate;
use crate::judge::{Contestant, TrafficSchedule, Verdict};
use crate::score::Outcome;
use crate::trace::{Class, Deployment, Plan, RATES, Spec, Witness};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which deployments a benchmark makes: every class at every rate with every plan, so many each.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Seed of all of them.
    pub seed: u64,
    /// Deployments per class, rate and plan.
    pub count: u64,
    /// Length of a bucket: 60 or 10 seconds.
    pub bucket_s: i64,
    /// Classes.
    pub classes: Vec<Class>,
    /// Requests per second.
    pub rates: Vec<f64>,
    /// Plans.
    pub plans: Vec<Plan>,
}

impl Series {
    /// All classes and rates, a canary and a linear plan.
    #[must_use]
    pub fn full(seed: u64, count: u64, bucket_s: i64) -> Series {
        let plans = vec![Plan::Canary10Percent5Minutes, Plan::Linear10PercentEvery1Minute];
        Series { seed, count, bucket_s, classes: Class::ALL.to_vec(), rates: RATES.to_vec(), plans }
    }

    /// The deployments, in order.
    #[must_use]
    pub fn specs(&self) -> Vec<Spec> {
        let mut specs = Vec::new();
        for class in &self.classes {
            for rate in &self.rates {
                for plan in &self.plans {
                    let (seed, class, rate, plan, bucket_s) = (self.seed, *class, *rate, *plan, self.bucket_s);
                    specs.extend((0..self.count).map(|index| Spec { seed, class, rate, plan, bucket_s, index }));
                }
            }
        }
        specs
    }
}

/// What one detector does with one deployment.
#[must_use]
pub fn play(deployment: &Deployment, contestant: &Contestant) -> Outcome {
    let spec = deployment.spec;
    let schedule = TrafficSchedule {
        bucket_s: spec.bucket_s,
        history_s: spec.history_s(),
        plan: spec.plan,
        witnesses: &Witness::ALL,
    };
    let mut judge = (contestant.start)(&schedule);
    let rolled_back_s = deployment
        .polls()
        .find(|(now_s, arrivals)| judge.poll(*now_s, arrivals) == Verdict::RollBack)
        .map(|(now_s, _)| now_s);
    let ending = if rolled_back_s.is_some() { Verdict::RollBack } else { judge.end() };
    Outcome::of(deployment, rolled_back_s, ending)
}

/// Plays all deployments to all detectors, on all processors. Outcomes by detector, in the order of `specs`, whatever the
/// number of processors. `progress` is told how many deployments are done.
#[must_use]
pub fn play_all(specs: &[Spec], contestants: &[Contestant], progress: &(dyn Fn(usize) + Sync)) -> Vec<Vec<Outcome>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(spec) = specs.get(index) else { return outcomes };
            let deployment = generate(spec);
            outcomes.push((index, contestants.iter().map(|one| play(&deployment, one)).collect::<Vec<Outcome>>()));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let mut all: Vec<(usize, Vec<Outcome>)> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut own = work();
        for helper in helpers {
            match helper.join() {
                Ok(outcomes) => own.extend(outcomes),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        own
    });
    all.sort_by_key(|(index, _)| *index);
    let column = |one: usize| all.iter().filter_map(|(_, outcomes)| outcomes.get(one).copied()).collect();
    (0..contestants.len()).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Judge;
    use crate::trace::Arrivals;

    /// Rolls back at the third poll, if there ever was an error.
    struct Third(u32, bool);

    impl Judge for Third {
        fn poll(&mut self, _: i64, arrivals: &Arrivals) -> Verdict {
            self.0 += 1;
            self.1 |= arrivals.versions.iter().any(|bucket| bucket.errors > 0);
            if self.0 >= 3 && self.1 { Verdict::RollBack } else { Verdict::Continue }
        }

        fn end(&mut self) -> Verdict {
            Verdict::Inconclusive
        }
    }

    const THIRD: Contestant =
        Contestant { name: "third", method: "", sources: &[], start: |_| Box::new(Third(0, false)) };
    const NEVER: Contestant = Contestant { start: |_| Box::new(Third(0, false)), ..THIRD };

    #[test]
    fn outcomes_come_in_the_order_of_the_specs() {
        let series = Series { rates: vec![5.0], ..Series::full(3, 1, 60) };
        let specs = series.specs();
        assert_eq!(specs.len(), 28 * 2);
        let columns = play_all(&specs, &[THIRD, NEVER], &|_| {});
        assert_eq!(columns.len(), 2);
        for column in &columns {
            let order: Vec<Spec> = column.iter().map(|outcome| outcome.spec).collect();
            assert_eq!(order, specs);
        }
        assert_eq!(columns[0], columns[1], "the same detector on the same deployments");
        let found = columns[0].iter().filter_map(|outcome| outcome.rolled_back_s).min();
        assert_eq!(found, Some(20), "the third poll, where the history has an error");
    }

    #[test]
    fn the_whole_benchmark_has_the_size_that_is_said() {
        assert_eq!(Series::full(1, 20, 60).specs().len(), 4480);
    }
}
