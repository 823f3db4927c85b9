//! Instructions of each function: how often callgrind sees it do its work.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{Failure, NotPossible};
use super::instructions;
use super::recorder::AtPoll;
use super::report::{Instructions, Skipped};
use super::run::{Bench, Circumstance, Samples, or_skip};
use super::sample::Sample;
use super::session::{self, BEFORE, FUNCTIONS};
use super::world::{Cast, Plan, World};
use crate::statistics::Summary;

/// When runs differ by more, it is said.
const SPREAD_MAX: f64 = 0.01;

/// How often a run is tried in which a time-out made a function do other work: a busy machine does that now and then.
const ATTEMPTS_MAX: u32 = 4;

/// Millions of instructions of one function, or why they say nothing.
type Counted = (&'static str, Result<f64, Failure>);

impl Bench<'_> {
    /// By function. `samples`: of the same functions without valgrind.
    pub(super) async fn instructions(
        &self,
        samples: &Samples,
        skipped: &mut Vec<Skipped>,
    ) -> Result<BTreeMap<String, Instructions>, Failure> {
        if self.options.no_instructions {
            return Ok(BTreeMap::new());
        }
        let Some(code) = or_skip("instructions", self.code.under_valgrind(), skipped)? else {
            return Ok(BTreeMap::new());
        };
        eprintln!("under valgrind: init ...");
        let init = self.instructions_of_init(&code).await?;
        let mut totals: BTreeMap<&'static str, Vec<Result<f64, Failure>>> = BTreeMap::new();
        for run in 1..=self.options.instruction_runs {
            eprintln!("under valgrind: to the first answer, run {run} of {} ...", self.options.instruction_runs);
            for (binary, counted) in self.instructions_of_run(&code, samples).await? {
                totals.entry(binary).or_default().push(counted);
            }
        }
        let mut found = BTreeMap::new();
        for (binary, values) in totals {
            let values: Result<Vec<f64>, Failure> = values.into_iter().collect();
            let Some(values) = or_skip(&format!("instructions of {binary}"), values, skipped)? else { continue };
            let Some(to_answer) = Summary::of(values.iter().copied()) else { continue };
            let spread = to_answer.spread();
            if spread > SPREAD_MAX {
                eprintln!("instructions of {binary} differ by {:.1} % between runs: {values:?}", spread * 100.0);
            }
            let init = init.get(binary).copied();
            found.insert(binary.to_owned(), Instructions { init, to_answer, spread });
        }
        Ok(found)
    }

    /// Each function is ended before it gets its event, so one emulator does for all.
    async fn instructions_of_init(&self, code: &Path) -> Result<BTreeMap<&'static str, f64>, Failure> {
        let cast = if self.options.wants_others() { Cast::All } else { Cast::Hook { deployments: 1 } };
        let world = World::build(&Plan { at_poll: AtPoll::Terminate(1), ..self.plan(code, cast) }).await?;
        let found = self.inits(&world, code).await;
        world.end().await;
        found
    }

    async fn inits(&self, world: &World, code: &Path) -> Result<BTreeMap<&'static str, f64>, Failure> {
        let mut found = BTreeMap::new();
        for (binary, _) in FUNCTIONS.iter().filter(|(name, _)| self.options.wants(name)) {
            // The invocation fails, as its process is gone.
            world.aws.lambda.invoke(world.name(binary)?, None, "{}").await?;
            let process = world.ended(binary).await?;
            found.insert(*binary, instructions::millions(&file(code, process.pid))?);
        }
        Ok(found)
    }

    /// The first attempt in which every function did what it does without valgrind, else the last one.
    async fn instructions_of_run(&self, code: &Path, samples: &Samples) -> Result<Vec<Counted>, Failure> {
        let mut attempt = 1;
        loop {
            let found = self.instructions_to_answer(code).await?;
            let counted: Vec<Counted> = found
                .into_iter()
                .map(|(binary, sample, millions)| (binary, did_the_same(binary, &sample, samples).map(|()| millions)))
                .collect();
            let failure = counted.iter().find_map(|(binary, counted)| Some((binary, counted.as_ref().err()?)));
            let Some((binary, failure)) = failure else { return Ok(counted) };
            if attempt == ATTEMPTS_MAX {
                return Ok(counted);
            }
            attempt += 1;
            eprintln!("{binary}: {failure}; attempt {attempt} of {ATTEMPTS_MAX} ...");
        }
    }

    async fn instructions_to_answer(&self, code: &Path) -> Result<Vec<(&'static str, Sample, f64)>, Failure> {
        let mut found = Vec::new();
        let sessions = [(true, self.options.wants(BEFORE)), (false, self.options.wants_others())];
        for (is_hook, _) in sessions.into_iter().filter(|(_, is_wanted)| *is_wanted) {
            let cast = if is_hook { Cast::Hook { deployments: 1 } } else { Cast::All };
            let world = World::build(&Plan { at_poll: AtPoll::Terminate(2), ..self.plan(code, cast) }).await?;
            let ended = until_ended(&world, is_hook, code).await;
            world.end().await;
            found.extend(ended?.into_iter().filter(|(binary, _, _)| self.options.wants(binary)));
        }
        Ok(found)
    }
}

async fn until_ended(world: &World, is_hook: bool, code: &Path) -> Result<Vec<(&'static str, Sample, f64)>, Failure> {
    let processes = match is_hook {
        true => vec![(BEFORE, session::hook(world, 0, 0).await?)],
        false => session::others(world, 0).await?,
    };
    let mut found = Vec::new();
    for (binary, process) in processes {
        world.ended(binary).await?;
        let sample = Sample::of(&process, &world.fronts.book())?;
        found.push((binary, sample, instructions::millions(&file(code, process.pid))?));
    }
    Ok(found)
}

/// Under valgrind a process is some fifty times slower. When one of its time-outs ends a call that would have been answered, it
/// does other work than otherwise, and its count says nothing.
fn did_the_same(binary: &str, sample: &Sample, samples: &Samples) -> Result<(), Failure> {
    let Some(others) = samples.get(&(binary.to_owned(), Circumstance::Full)) else { return Ok(()) };
    let work = |sample: &Sample| (sample.calls(), sample.connections);
    if others.iter().any(|other| work(other) == work(sample)) {
        return Ok(());
    }
    let (calls, connections) = work(sample);
    let (usual_calls, usual_connections) = others.last().map(work).unwrap_or_default();
    let why = format!(
        "a time-out ended a call under valgrind: {calls} calls on {connections} connections, not {usual_calls} on {usual_connections}"
    );
    Err(NotPossible(why).into())
}

/// See [`super::code::Code::under_valgrind`].
fn file(code: &Path, pid: u32) -> std::path::PathBuf {
    code.join(format!("{pid}.callgrind"))
}
