//! The whole measurement.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::certificates::Certificates;
use super::code::{self, Code, Runtime};
use super::error::{Failure, NotComparable, NotPossible};
use super::figures::{Figures, difference};
use super::freeze;
use super::limits;
use super::machine::Machine;
use super::options::Options;
use super::package::Size;
use super::recorder::AtPoll;
use super::report::{Instructions, Report, Skipped, Subject};
use super::sample::Sample;
use super::session::{self, BEFORE, FUNCTIONS};
use super::share::CpuShare;
use super::world::{Cast, Plan, World};
use crate::options::functions_folder;

/// Measures what `options` ask for.
///
/// # Errors
/// [`NotPossible`] without `openssl`; [`NotComparable`]; when something did not work.
pub async fn run(options: &Options) -> Result<Report, Failure> {
    let limits = options.limits.as_deref().map(limits::read).transpose()?.unwrap_or_default();
    let mut machine = Machine::look();
    let functions = functions_folder(options.functions.as_deref())?;
    // The others are called one by one in what happens around them, so they are all needed for one.
    let needed = FUNCTIONS.map(|(name, _)| name).into_iter().filter(|name| *name == BEFORE || options.wants_others());
    code::check(&functions, &needed.collect::<Vec<_>>())?;
    let temporary = tempfile::Builder::new().prefix("snapback-coldstart-").tempdir()?;
    let certificates = Certificates::make(temporary.path())?;
    let code = Code { functions: &functions, temporary: temporary.path(), root: &certificates.root };
    let bench = Bench { options, certificates: &certificates, code };
    let mut skipped = Vec::new();
    let share = match options.no_throttled {
        true => None,
        false => {
            let what = format!("the CPU of a function of {} MB", options.memory_mb);
            or_skip(&what, CpuShare::make(options.memory_mb), &mut skipped)?.map(Arc::new)
        }
    };
    if options.shipped.is_none() {
        skipped.push(Skipped { what: "sizes of the packages".to_owned(), why: "no --shipped".to_owned() });
    }
    let runtimes = bench.runtimes(&mut skipped)?;
    let samples = bench.rounds(&runtimes, share).await?;
    let instructions = bench.instructions(&samples, &mut skipped).await?;
    let freeze = match options.no_freeze || !options.wants(BEFORE) {
        true => Vec::new(),
        false => {
            freeze::measure(
                &bench.plan(&bench.code.folder("plain"), Cast::Hook { deployments: 2 }),
                Duration::from_secs(options.frozen),
            )
            .await?
        }
    };
    machine.is_done();
    let mut report = Report {
        command: std::iter::once("bench-coldstart".to_owned())
            .chain(std::env::args().skip(1))
            .collect::<Vec<_>>()
            .join(" "),
        machine,
        rounds: options.rounds,
        latency_ms: options.latency,
        memory_mb: options.memory_mb,
        subjects: bench.subjects(&runtimes, &samples, &instructions)?,
        freeze,
        skipped,
        limits: Vec::new(),
    };
    report.limits = limits::compare(&limits, &report);
    Ok(report)
}

/// What is not possible here is skipped.
pub(super) fn or_skip<T>(
    what: &str,
    result: Result<T, Failure>,
    skipped: &mut Vec<Skipped>,
) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is::<NotPossible>() => {
            eprintln!("skipped: {what}: {error}");
            skipped.push(Skipped { what: what.to_owned(), why: error.to_string() });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Under which circumstances something is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Circumstance {
    /// A whole CPU.
    Full,
    /// That of a small function.
    Small,
    /// A whole CPU, and time added to each request.
    Latency,
}

/// One thing that is done in each round.
struct Lane {
    /// `None`: our functions.
    runtime: Option<&'static str>,
    /// The hook before traffic, or the other functions.
    is_hook: bool,
    circumstance: Circumstance,
}

pub(super) type Samples = BTreeMap<(String, Circumstance), Vec<Sample>>;

pub(super) struct Bench<'a> {
    pub(super) options: &'a Options,
    certificates: &'a Certificates,
    pub(super) code: Code<'a>,
}

impl Bench<'_> {
    fn runtimes(&self, skipped: &mut Vec<Skipped>) -> Result<Vec<Runtime>, Failure> {
        let mut found = Vec::new();
        if !self.options.wants(BEFORE) {
            return Ok(found);
        }
        let python = match &self.options.python {
            Some(interpreter) => Runtime::python(interpreter),
            None => Err(NotPossible("no --python".to_owned()).into()),
        };
        found.extend(or_skip("the hook in Python", python, skipped)?);
        let node = match &self.options.node {
            Some(folder) => Runtime::node(folder),
            None => Err(NotPossible("no --node".to_owned()).into()),
        };
        found.extend(or_skip("the hook in JavaScript", node, skipped)?);
        Ok(found)
    }

    pub(super) fn plan<'p>(&'p self, code: &'p Path, cast: Cast) -> Plan<'p> {
        let latency = Duration::ZERO;
        Plan { code, certificates: self.certificates, latency, at_poll: AtPoll::Nothing, cast }
    }

    /// What each round consists of, in this order.
    fn lanes(&self, runtimes: &[Runtime], has_share: bool) -> Vec<Lane> {
        let hooks = || std::iter::once(None).chain(runtimes.iter().map(|runtime| Some(runtime.name)));
        let mut lanes = Vec::new();
        let circumstances = [
            (Circumstance::Full, true),
            (Circumstance::Small, has_share),
            (Circumstance::Latency, self.options.latency > 0),
        ];
        for circumstance in
            circumstances.into_iter().filter_map(|(circumstance, is_wanted)| is_wanted.then_some(circumstance))
        {
            if self.options.wants(BEFORE) {
                lanes.extend(hooks().map(|runtime| Lane { runtime, is_hook: true, circumstance }));
            }
            if self.options.wants_others() && circumstance != Circumstance::Latency {
                lanes.push(Lane { runtime: None, is_hook: false, circumstance });
            }
        }
        lanes
    }

    async fn rounds(&self, runtimes: &[Runtime], share: Option<Arc<CpuShare>>) -> Result<Samples, Failure> {
        self.code.plain()?;
        for runtime in runtimes {
            self.code.replaced(runtime)?;
        }
        let lanes = self.lanes(runtimes, share.is_some());
        let mut samples = Samples::new();
        // The round before the first fills the system's file cache.
        for round in 0..=self.options.rounds {
            eprintln!("round {round} of {} ...", self.options.rounds);
            for lane in &lanes {
                let found = self.play(lane, share.as_ref()).await?;
                if round > 0 {
                    found.into_iter().for_each(|(key, sample)| samples.entry(key).or_default().push(sample));
                }
            }
            compare(&samples, runtimes)?;
        }
        Ok(samples)
    }

    /// One lane of one round, on its own emulator.
    async fn play(
        &self,
        lane: &Lane,
        share: Option<&Arc<CpuShare>>,
    ) -> Result<Vec<((String, Circumstance), Sample)>, Failure> {
        let code = self.code.folder(lane.runtime.unwrap_or("plain"));
        let warm = if lane.circumstance == Circumstance::Full { usize::from(self.options.warm) } else { 0 };
        let cast = if lane.is_hook { Cast::Hook { deployments: 1 + warm } } else { Cast::All };
        let mut plan = self.plan(&code, cast);
        match (lane.circumstance, share) {
            (Circumstance::Small, Some(share)) => plan.at_poll = AtPoll::Join(Arc::clone(share)),
            (Circumstance::Latency, _) => plan.latency = Duration::from_millis(self.options.latency),
            (Circumstance::Full | Circumstance::Small, _) => {}
        }
        let world = World::build(&plan).await?;
        let processes = match lane.is_hook {
            true => session::hook(&world, 0, warm).await.map(|process| vec![(BEFORE, process)]),
            false => session::others(&world, warm).await,
        };
        let book = world.fronts.book();
        world.end().await;
        let mut found = Vec::new();
        for (binary, process) in processes? {
            if self.options.wants(binary) {
                let name = lane.runtime.unwrap_or(binary).to_owned();
                found.push(((name, lane.circumstance), Sample::of(&process, &book)?));
            }
        }
        Ok(found)
    }

    fn subjects(
        &self,
        runtimes: &[Runtime],
        samples: &Samples,
        instructions: &BTreeMap<String, Instructions>,
    ) -> Result<Vec<Subject>, Failure> {
        let figures = |name: &str, circumstance| Figures::of(samples.get(&(name.to_owned(), circumstance))?);
        let subject = |name: &str, made_of: String, event: &str| Subject {
            name: name.to_owned(),
            made_of,
            event: event.to_owned(),
            full: figures(name, Circumstance::Full),
            small: figures(name, Circumstance::Small),
            latency: figures(name, Circumstance::Latency),
            instructions: instructions.get(name).cloned(),
            measured_bytes: None,
            shipped: None,
        };
        let mut subjects = Vec::new();
        for (name, event) in FUNCTIONS.iter().filter(|(name, _)| self.options.wants(name)) {
            let measured = std::fs::metadata(self.code.functions.join(name))?;
            let shipped = self.options.shipped.as_deref().map(|folder| Size::of(folder, name)).transpose()?;
            subjects.push(Subject {
                measured_bytes: Some(measured.len()),
                shipped,
                ..subject(name, "Snapback (Rust)".to_owned(), event)
            });
        }
        let event = FUNCTIONS.first().map(|(_, event)| *event).unwrap_or_default();
        subjects.extend(runtimes.iter().map(|runtime| subject(runtime.name, runtime.versions.clone(), event)));
        Ok(subjects)
    }
}

/// The other hooks must make the calls that ours makes in its first event.
fn compare(samples: &Samples, runtimes: &[Runtime]) -> Result<(), Failure> {
    let last = |name: &str| samples.get(&(name.to_owned(), Circumstance::Full)).and_then(|samples| samples.last());
    let Some(ours) = last(BEFORE) else { return Ok(()) };
    for runtime in runtimes {
        let different = last(runtime.name).and_then(|theirs| difference(&ours.first_calls, &theirs.first_calls));
        if let Some(different) = different {
            let name = runtime.name;
            let text = format!(
                "the hook in {name} does not make the calls that {BEFORE} makes in its first event (ours, not theirs): {different}; \
                 bring tests/speed/hooks/{name} in line"
            );
            return Err(NotComparable(text).into());
        }
    }
    Ok(())
}
