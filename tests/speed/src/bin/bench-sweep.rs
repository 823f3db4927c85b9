//! What the sweep costs, and how that grows: `make bench-sweep`.
//!
//! The real `watcher` runs on the embedded AWS and looks after many services, each with a canary deployment in its shift.
//! Their metrics by version are made up; no service has a process. For each size the deployments are put on record by the
//! recorder, the watcher has two minutes to get to know them, and then its calls, looks, processor time and memory are measured
//! over some of its minutes (of 60 s), and compared with limits.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use snapback_emulator::access::CallRecord;
use snapback_emulator::lambda::LambdaEvent;
use snapback_emulator::parts::LambdaControl;
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_rehearsal as rehearsal;
use snapback_rehearsal::wiring::Wiring;
use snapback_speed::Failure;
use snapback_speed::options::{functions_folder, growing_numbers, number, run, write};
use snapback_speed::process::{cpu_time, resident_kb};
use snapback_speed::services::{self, CANARY_PERCENT};
use snapback_speed::sweep::{Calls, Measured, PAUSE, calls_table, growth_per_deployment, growth_table, looks};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

const HELP: &str = "\
Measures what the sweep costs on the embedded AWS, in real minutes, and how that grows.

Usage: bench-sweep [OPTIONS]

  --deployments N[,N…]     services with a running deployment each, growing (default 1,10,100,1000)
  --minutes M              minutes that are measured (default 2)
  --bucket SECONDS         bucket of the policies, and of `new bucket` below (default 60)
  --latency MS             every call of a function waits this long before it is answered (default 0: loopback)
  --everything             policies with every signal, metrics of their own and two peers, instead of the signals of
                           `policy init` and a front door
  --alarms                 policies that name one alarm each, instead of ones that compare versions
  --functions DIR          folder of the function binaries and the demo application (default: this one's)
  --json FILE              write the figures
  --no-limits              only print; otherwise the exit code is 1 when a limit is broken. From 100 deployments on:
  --max-get-metric-data X  GetMetricData per minute and 100 deployments (default 8, with --everything 10)
  --max-batch-get X        BatchGetDeployments per minute and 100 deployments (default 4)
  --max-describe-alarms X  DescribeAlarms per minute and 100 deployments (default 2)
  --max-dynamodb X         DynamoDB calls per deployment and new bucket (default 2)
  --max-rss-mb X           largest resident memory of the watcher, MiB (default 256)
  --max-growth X           calls and processor time per deployment, as a multiple of those at the size before (default 1.4:
                           calls grow by less than 1, processor time by 1.0 to 1.2 as busy as the machine is; n log n would
                           be 1.5 from 100 to 1,000, and n² 10)

Exit codes: 0 fine, 1 a limit is broken, 2 usage, 3 could not run.";

/// Access key of the watcher: by it its calls are told from others.
const PRINCIPAL: &str = "watcher";
/// One minute of the watcher.
const MINUTE: Duration = Duration::from_secs(60);
/// From this size on limits hold.
const LARGE: usize = 100;
/// Minutes in which the watcher gets to know them: in the first it reads their history, in the second what came late of it.
const LEARNING_MINUTES: u32 = 2;
/// Deployments that are created before they are on record, at most: as many as the recorder has environments.
const AT_ONCE: usize = 10;
/// Within this time the recorder puts a deployment on record.
const RECORD_MAX: Duration = Duration::from_secs(60);
/// How often the table is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A run of the watcher, at most.
const RUN_MAX: Duration = Duration::from_secs(95);
/// Log lines of the watcher that are shown when something is missing.
const LOG_LINES: usize = 10;
/// History that is there before the deployments, in minutes: the hour that a policy looks back by default.
const HISTORY_MINUTES: i64 = 62;
/// Seconds between two points of one service; each second another part of the services gets theirs.
const POINT_EVERY_S: i64 = 10;

#[derive(Debug, Clone)]
struct Options {
    deployments: Vec<usize>,
    minutes: u32,
    bucket_s: u32,
    latency: Duration,
    policies: Policies,
    functions: Option<PathBuf>,
    json: Option<PathBuf>,
    limits: Option<Limits>,
}

/// What the policies of the services say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policies {
    /// The versions are compared by the signals of `policy init`; a front door is named.
    Compared,
    /// By every signal, with metrics of their own, a front door and two peers.
    Everything,
    /// One alarm each.
    Alarms,
}

impl Policies {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Compared => "compared",
            Self::Everything => "everything",
            Self::Alarms => "alarms",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Limits {
    get_metric_data: f64,
    batch_get: f64,
    describe_alarms: f64,
    dynamodb: f64,
    rss_mb: f64,
    growth: f64,
}

fn main() -> ExitCode {
    let options = Options::read(std::env::args().skip(1));
    run("bench-sweep", HELP, options, async |options| tell(&options, &measure(&options).await?))
}

impl Options {
    /// `None` when help is asked for.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut limits = Limits {
            get_metric_data: 8.0,
            batch_get: 4.0,
            describe_alarms: 2.0,
            dynamodb: 2.0,
            rss_mb: 256.0,
            growth: 1.4,
        };
        let mut options = Self {
            deployments: vec![1, 10, 100, 1000],
            minutes: 2,
            bucket_s: 60,
            latency: Duration::ZERO,
            policies: Policies::Compared,
            functions: None,
            json: None,
            limits: None,
        };
        let mut is_limited = true;
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--alarms" => options.policies = Policies::Alarms,
                "--everything" => {
                    options.policies = Policies::Everything;
                    limits.get_metric_data = 10.0;
                }
                "--no-limits" => is_limited = false,
                "--deployments" => options.deployments = growing_numbers(&flag, &value()?, 1, 2000)?,
                "--minutes" => options.minutes = number(&flag, &value()?, 1, 60)?,
                "--bucket" => options.bucket_s = number(&flag, &value()?, 5, 60)?,
                "--latency" => options.latency = Duration::from_millis(number(&flag, &value()?, 0, 1000)?),
                "--functions" => options.functions = Some(PathBuf::from(value()?)),
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--max-get-metric-data" => limits.get_metric_data = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-batch-get" => limits.batch_get = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-describe-alarms" => limits.describe_alarms = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-dynamodb" => limits.dynamodb = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-rss-mb" => limits.rss_mb = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-growth" => limits.growth = number(&flag, &value()?, 0.0, f64::MAX)?,
                unknown => return Err(format!("there is no option {unknown}")),
            }
        }
        options.limits = is_limited.then_some(limits);
        Ok(Some(options))
    }
}

async fn measure(options: &Options) -> Result<Vec<Measured>, Failure> {
    let functions = functions_folder(options.functions.as_deref())?;
    let (small, large): (Vec<usize>, Vec<usize>) = options.deployments.iter().partition(|size| **size <= LARGE);
    // Up to a hundred a watcher is idle nearly all the time: they do not disturb one another.
    let mut side_by_side = JoinSet::new();
    for size in small {
        side_by_side.spawn(measure_one(options.clone(), size, functions.clone()));
    }
    let mut measured = Vec::new();
    while let Some(ended) = side_by_side.join_next().await {
        measured.push(ended??);
    }
    for size in large {
        measured.push(measure_one(options.clone(), size, functions.clone()).await?);
    }
    measured.sort_by_key(|size| size.deployments);
    Ok(measured)
}

/// Each size has an emulator and a watcher of its own, so that none has to do with what another one left behind.
async fn measure_one(options: Options, deployments: usize, functions: PathBuf) -> Result<Measured, Failure> {
    let config = EmulatorConfig { minute: MINUTE, port: None, store: None, functions: Some(functions.clone()) };
    let aws = Arc::new(Emulator::start(config).await?);
    let measured = on_emulator(&options, deployments, &aws, &functions).await;
    aws.shutdown().await;
    measured
}

async fn on_emulator(
    options: &Options,
    deployments: usize,
    aws: &Arc<Emulator>,
    functions: &Path,
) -> Result<Measured, Failure> {
    let watcher = install(aws, functions).await?;
    let (shifting, seen) = watch::channel(Vec::new());
    let memory = Arc::new(AtomicU64::new(0));
    let (traffic_aws, watched_aws, peak) = (Arc::clone(aws), Arc::clone(aws), Arc::clone(&memory));
    let traffic = tokio::spawn(async move { present(&traffic_aws, &seen).await });
    let watched = watcher.clone();
    let memory_watch = tokio::spawn(async move { watch_memory(&watched_aws, &watched, &peak).await });
    let bench = Bench { options, aws, watcher, deployments, shifting, memory };
    let stopping = traffic.abort_handle();
    let measured = tokio::select! {
        measured = bench.measure() => measured,
        broken = traffic => Err(broken?.err().unwrap_or_else(|| "the traffic ended".into())),
    };
    stopping.abort();
    memory_watch.abort();
    measured
}

/// The installation, with a watcher that runs when we say so. Answers its name.
async fn install(aws: &Emulator, functions: &Path) -> Result<String, Failure> {
    let wiring = Wiring::built_in()?;
    aws.access.iam().enforce(wiring.authority.clone());
    // The deadline of a hook: there is none here.
    rehearsal::snapback(aws, &wiring, functions, MINUTE).await?;
    for rule in wiring.rules.iter().filter(|rule| rule.rule.get("ScheduleExpression").is_some()) {
        let name = rule.rule.get("Name").and_then(Value::as_str).unwrap_or_default();
        if !aws.bus.set_enabled(name, false) {
            return Err(format!("the rule {name} is not on the emulator").into());
        }
    }
    let watcher = wiring.function(PRINCIPAL).ok_or("the installation has no watcher")?;
    Ok(watcher.name.clone())
}

fn policy(service: &str, options: &Options) -> Value {
    let own = |all: &str, bad: &str| json!({"custom": {"namespace": "Shop", "all": all, "bad": bad, "dimensions": {"Service": service}, "version": "Version"}});
    let front =
        json!({"rest_api": {"name": "shop", "stage": "prod", "method": "GET", "resource": format!("/{service}")}});
    let compared = json!({
        "errors": {"against_baseline": {}}, "latency": {"against_baseline": {}}, "availability": {"against_baseline": {}}
    });
    let (signals, witness) = match options.policies {
        Policies::Alarms => (json!({"errors": {"alarms": [alarm_of(service)]}}), json!({})),
        Policies::Compared => (compared, json!({"front": front})),
        Policies::Everything => {
            let mut signals = compared;
            if let Some(members) = signals.as_object_mut() {
                let errors = json!({"against_baseline": {}, "metric": own("Requests", "ServerErrors")});
                let transactions = json!({"against_baseline": {}, "metric": own("Tried", "Failed")});
                members.insert("errors".to_owned(), errors);
                members.insert("transactions".to_owned(), transactions);
                members.insert("slo".to_owned(), json!({"objective": "99.9%"}));
            }
            (signals, json!({"front": front, "peers": ["stock:live", "prices:live"]}))
        }
    };
    let mut policy = json!({
        "service": service, "mode": "rollback", "signals": signals, "witness": witness, "bake": "10m", "tick": "10s"
    });
    if let (false, Some(members)) = (options.policies == Policies::Alarms, policy.as_object_mut()) {
        members.insert("judge".to_owned(), json!({"bucket": format!("{}s", options.bucket_s)}));
    }
    policy
}

fn alarm_of(service: &str) -> String {
    format!("{service}-errors")
}

/// Traffic from now on, for ever: each second a tenth of the services get their points of ten seconds.
async fn present(aws: &Emulator, shifting: &watch::Receiver<Vec<String>>) -> Result<(), Failure> {
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for second in 0_usize.. {
        every_second.tick().await;
        let at_s = aws.clock.now_ms() / 1000;
        let turn = usize::try_from(POINT_EVERY_S)?;
        let theirs: Vec<String> = shifting.borrow().iter().skip(second % turn).step_by(turn).cloned().collect();
        let data = theirs.iter().flat_map(|name| services::traffic(name, at_s, POINT_EVERY_S, CANARY_PERCENT, 0));
        services::put_data(aws, &data.collect::<Vec<Value>>()).await?;
    }
    Ok(())
}

/// Keeps the largest resident memory of the watcher in `peak_kb`.
async fn watch_memory(aws: &Emulator, watcher: &str, peak_kb: &AtomicU64) {
    loop {
        for pid in aws.lambda.processes_of(watcher) {
            if let Some(kb) = resident_kb(pid).await {
                peak_kb.fetch_max(kb, Ordering::Relaxed);
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}

struct Bench<'a> {
    options: &'a Options,
    aws: &'a Emulator,
    watcher: String,
    deployments: usize,
    /// Services whose traffic shifts.
    shifting: watch::Sender<Vec<String>>,
    memory: Arc<AtomicU64>,
}

impl Bench<'_> {
    /// All deployments in their shift and on record.
    async fn set_up(&self) -> Result<(), Failure> {
        let services: Vec<String> = (0..self.deployments).map(|index| format!("service-{index:04}")).collect();
        for service in &services {
            if self.options.policies == Policies::Alarms {
                let alarm = services::alarm_on_errors(&alarm_of(service), service);
                self.aws.cloudwatch.call("PutMetricAlarm", alarm).await?;
            }
            services::stand_up(self.aws, service, &[]).await?;
            services::put_policy(self.aws, service, &policy(service, self.options)).await?;
            services::put_past(self.aws, service, HISTORY_MINUTES).await?;
        }
        for (created, some) in services.chunks(AT_ONCE).enumerate() {
            self.on_record(created * AT_ONCE).await?;
            for service in some {
                services::deploy(self.aws, service, &[]).await?;
                self.shifting.send_modify(|shifting| shifting.push(service.clone()));
            }
        }
        self.on_record(self.deployments).await
    }

    /// Waits until so many deployments are on record.
    async fn on_record(&self, count: usize) -> Result<(), Failure> {
        let wait = async {
            while services::on_record(self.aws).await?.len() < count {
                sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        match timeout(RECORD_MAX, wait).await {
            Ok(done) => done,
            Err(_) => {
                let found = services::on_record(self.aws).await?.len();
                Err(format!("only {found} of {count} deployments are on record after {} s", RECORD_MAX.as_secs())
                    .into())
            }
        }
    }

    /// One run of the watcher, as its schedule begins it.
    fn begin_run(&self) -> Result<(), Failure> {
        Ok(self
            .aws
            .lambda
            .invoke_async(&self.watcher, json!({"detail-type": "Scheduled Event", "source": "aws.events"}))?)
    }

    /// One run to its end.
    async fn one_run(&self) -> Result<(), Failure> {
        let mut events = self.aws.lambda.subscribe();
        self.begin_run()?;
        let ended = async {
            loop {
                match events.recv().await {
                    Ok(LambdaEvent::InvocationEnded { function, error_type, .. }) if function == self.watcher => {
                        return error_type;
                    }
                    Ok(_) => {}
                    Err(error) => return Some(error.to_string()),
                }
            }
        };
        match timeout(RUN_MAX, ended).await {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(format!("a run of the watcher failed: {error}\n{}", self.log()).into()),
            Err(_) => Err(format!("a run of the watcher did not end\n{}", self.log()).into()),
        }
    }

    fn log(&self) -> String {
        let log = self.aws.lambda.log(&self.watcher);
        let last: Vec<&str> = log.iter().rev().take(LOG_LINES).rev().map(|line| line.text.as_str()).collect();
        last.join("\n")
    }

    async fn measure(&self) -> Result<Measured, Failure> {
        let deployments = self.deployments;
        eprintln!("{deployments} deployments: the recorder puts them on record ...");
        self.set_up().await?;
        eprintln!("{deployments} deployments: the watcher gets to know them ...");
        self.aws.gateway.set_latency(self.options.latency);
        // As the schedule does it: when in a minute the looks are decides in which minute a bucket comes.
        let met = Instant::now();
        for minute in 1..=LEARNING_MINUTES {
            self.one_run().await?;
            sleep_until(met + MINUTE * minute).await;
        }
        let minutes = self.options.minutes;
        let (before, pid, began) = (self.calls(), self.only_process()?, Instant::now());
        let cpu_before = cpu_time(pid);
        for minute in 1..=minutes {
            eprintln!("{deployments} deployments: measured minute {minute} of {minutes} ...");
            self.begin_run()?;
            sleep_until(began + MINUTE * minute).await;
        }
        if self.only_process()? != pid {
            return Err(format!("the watcher's process was replaced while it was measured\n{}", self.log()).into());
        }
        let cpu = cpu_time(pid).zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
        let log = self.aws.access.calls();
        let is_new = |call: &&CallRecord| call.principal == PRINCIPAL && call.began >= began.into_std();
        let times: Vec<_> = log.iter().filter(is_new).map(|call| (call.began, call.ended)).collect();
        let mut calls = self.calls();
        for (action, count) in before {
            if let Some(all) = calls.get_mut(&action) {
                *all -= count;
            }
        }
        calls.retain(|_, count| *count > 0);
        let memory_kb = self.memory.load(Ordering::Relaxed);
        Ok(Measured { deployments, minutes, calls, looks: looks(&times, PAUSE), cpu, memory_kb })
    }

    fn calls(&self) -> Calls {
        let counts = self.aws.access.counts().into_iter();
        let own = counts.filter(|((principal, _), _)| principal == PRINCIPAL);
        own.map(|((_, action), count)| (action, count)).collect()
    }

    fn only_process(&self) -> Result<u32, Failure> {
        match self.aws.lambda.processes_of(&self.watcher).as_slice() {
            [pid] => Ok(*pid),
            others => Err(format!("the watcher has {} processes instead of one\n{}", others.len(), self.log()).into()),
        }
    }
}

fn tell(options: &Options, measured: &[Measured]) -> Result<ExitCode, Failure> {
    println!("{}", growth_table(measured));
    println!("{}", calls_table(measured));
    println!(
        "Each call takes {} ms more than on loopback. A look lasts from its first call to the answer of its last one, the\nemulator's own time included. There are six a minute: most find nothing new, the longest is one in which a bucket comes.\n× is the ratio to the row above. Memory is the largest that the watcher's process had.",
        options.latency.as_millis()
    );
    if measured.iter().any(|size| size.cpu.is_none()) {
        println!("This system does not tell the processor time of a process.");
    }
    if let Some(file) = &options.json {
        let sizes: Vec<Value> = measured.iter().map(Measured::json).collect();
        let document = json!({
            "bench": "sweep", "bucket_s": options.bucket_s, "latency_ms": options.latency.as_millis(),
            "policies": options.policies.as_str(), "sizes": sizes
        });
        write(file, format!("{document:#}\n"))?;
    }
    let Some(limits) = options.limits else { return Ok(ExitCode::SUCCESS) };
    let mut is_broken = false;
    let large = measured.iter().filter(|size| size.deployments >= LARGE);
    let of_sizes = large.flat_map(|size| {
        let named = |(what, value, limit)| (format!("{} deployments, {what}", size.deployments), value, limit);
        figures(size, options, limits).map(named)
    });
    let grown = growth_per_deployment(measured, LARGE).into_iter().map(|(what, grown)| (what, grown, limits.growth));
    println!();
    for (what, value, limit) in of_sizes.chain(grown) {
        let is_over = value > limit;
        is_broken |= is_over;
        println!("{what}: {value:.2}, at most {limit}: {}", if is_over { "LIMIT BROKEN" } else { "fine" });
    }
    Ok(if is_broken { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// What has a limit: its name, what was found, the limit.
fn figures(size: &Measured, options: &Options, limits: Limits) -> [(&'static str, f64, f64); 5] {
    let per_hundred = |action: &str| size.per_deployment(size.count_of(action)) * 100.0;
    let buckets_per_minute = 60.0 / f64::from(options.bucket_s);
    let dynamodb = size.per_deployment(size.count_of("dynamodb:*")) / buckets_per_minute;
    [
        ("GetMetricData per minute and 100", per_hundred("cloudwatch:GetMetricData"), limits.get_metric_data),
        ("BatchGetDeployments per minute and 100", per_hundred("codedeploy:BatchGetDeployments"), limits.batch_get),
        ("DescribeAlarms per minute and 100", per_hundred("cloudwatch:DescribeAlarms"), limits.describe_alarms),
        ("DynamoDB per deployment and new bucket", dynamodb, limits.dynamodb),
        ("largest watcher process, MiB", size.memory_mb(), limits.rss_mb),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        Options::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn sizes_and_limits_are_read() {
        let options = read("--deployments 1,200 --minutes 3 --max-growth 1.2").unwrap().unwrap();
        assert_eq!(options.deployments, [1, 200]);
        assert_eq!((options.minutes, options.latency), (3, Duration::ZERO));
        assert_eq!(options.limits.map(|limits| (limits.growth, limits.dynamodb)), Some((1.2, 2.0)));
        assert_eq!(read("--no-limits").unwrap().unwrap().limits, None);
        for wrong in ["--deployments 10,1", "--minutes 0", "--bucket 61", "--functions", "--fast"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn figures_are_per_hundred_and_per_bucket() {
        let options = read("--bucket 10").unwrap().unwrap();
        let calls = [("cloudwatch:GetMetricData", 24), ("dynamodb:PutItem", 1_200), ("dynamodb:Query", 1_200)];
        let calls: Calls = calls.map(|(action, count)| (action.to_owned(), count)).into();
        let size = Measured { deployments: 200, minutes: 2, calls, looks: Vec::new(), cpu: None, memory_kb: 2048 };
        let found = figures(&size, &options, options.limits.unwrap());
        // 12 a minute for 200; 1,200 a minute for 200 in six buckets; 2 MiB.
        let expected = [6.0, 0.0, 0.0, 1.0, 2.0];
        for ((what, value, _), expected) in found.into_iter().zip(expected) {
            assert!((value - expected).abs() < 1e-9, "{what}: {value}");
        }
    }
}
