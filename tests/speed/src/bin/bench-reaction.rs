//! How fast Snapback reacts: `make bench-reaction`.
//!
//! The installation that the rehearsals play on, in real time, with real function binaries. Each repetition has a canary
//! deployment of its own in its shift; its alarm goes to ALARM, and what is measured is the time from the alarm's event on the
//! event bus to the answer of StopDeployment. Beside it: how long CodeDeploy's own alarm polling takes on the same emulator, and how
//! many requests a bad version harms until it is undone, in three ways of noticing it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snapback_emulator::access::{CallRecord, Outcome};
use snapback_emulator::codedeploy::{DeploymentTruth, POLL_EVERY};
use snapback_emulator::event_bus::Published;
use snapback_emulator::lambda::LambdaEvent;
use snapback_emulator::parts::LambdaControl;
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_rehearsal as rehearsal;
use snapback_rehearsal::wiring::Wiring;
use snapback_speed::Failure;
use snapback_speed::harm::{self, Undone};
use snapback_speed::options::{functions_folder, number, run, write};
use snapback_speed::reaction::{Call, Moments, Placed, Reaction, Reactions, path, path_table};
use snapback_speed::services::{self, CANARY_PERCENT};
use snapback_speed::statistics::{Summary, ms};
use snapback_speed::table::Table;
use tokio::sync::broadcast;
use tokio::time::{sleep, sleep_until, timeout};

const HELP: &str = "\
Measures the time from an alarm's event to StopDeployment on the embedded AWS, in real time, and what a bad version harms
until it is undone.

Usage: bench-reaction [OPTIONS]

  --warm N             reactions of an alarm handler that has handled an event before (default 100); 0 leaves them out, and
                       with --cold 0 all about them
  --cold N             reactions of one whose processes were ended before (default 30)
  --polling N          deployments that CodeDeploy stops by itself, for comparison (default 20)
  --harm N             bad deployments for each of: pairs of probes, comparison of metrics, an alarm of CodeDeploy (default 4)
  --latency MS         every call of a function waits this long before it is answered (default 0: loopback)
  --functions DIR      folder of the function binaries and the demo application (default: this one's)
  --json FILE          write the figures, every sample among them
  --no-limits          only print; otherwise the exit code is 1 when a limit is broken:
  --max-median-ms X    median of the warm reactions (default 100)
  --max-p99-ms X       their 99th percentile (default 200)

Percentiles are by nearest rank. Exit codes: 0 fine, 1 a limit is broken, 2 usage, 3 could not run.";

/// One minute of AWS is a minute.
const MINUTE: Duration = Duration::from_secs(60);
const ALARM_HANDLER: &str = "alarm-handler";
const STOP: &str = "codedeploy:StopDeployment";
/// Reactions before the first one that counts: the process has made every call before.
const WARM_UPS: usize = 3;
/// Latency of the run that shows which calls are made one behind the other: calls side by side must overlap.
const PATH_LATENCY: Duration = Duration::from_millis(20);
/// Deadline of the policies; CodeDeploy's hook is answered long before.
const DEADLINE: Duration = Duration::from_secs(30);
/// Deployments that are created at once.
const AT_ONCE: usize = 8;
/// History of a service, minutes: what the handler's look at both versions reads.
const HISTORY_MINUTES: i64 = 17;
/// Failed requests of the new version, per cent.
const FAILED_PERCENT: i64 = 20;
/// Longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// How often the emulator is looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Bad deployments of each way, at most: their load is on one machine.
const HARM_MAX: usize = 20;
/// Repetitions that somebody else was faster in, and that are left out, at most.
const OVERTAKEN_MAX: usize = 5;

#[derive(Debug, Clone)]
struct Options {
    warm: usize,
    cold: usize,
    polling: usize,
    harm: usize,
    latency: Duration,
    functions: Option<PathBuf>,
    json: Option<PathBuf>,
    limits: Option<Limits>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Limits {
    median_ms: f64,
    p99_ms: f64,
}

fn main() -> ExitCode {
    let options = Options::read(std::env::args().skip(1));
    run("bench-reaction", HELP, options, async |options| tell(&options, &measure(&options).await?))
}

impl Options {
    /// `None` when help is asked for.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut limits = Limits { median_ms: 100.0, p99_ms: 200.0 };
        let mut options = Self {
            warm: 100,
            cold: 30,
            polling: 20,
            harm: 4,
            latency: Duration::ZERO,
            functions: None,
            json: None,
            limits: None,
        };
        let mut is_limited = true;
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--no-limits" => is_limited = false,
                "--warm" => options.warm = number(&flag, &value()?, 0, 1000)?,
                "--cold" => options.cold = number(&flag, &value()?, 0, 1000)?,
                "--polling" => options.polling = number(&flag, &value()?, 0, 1000)?,
                "--harm" => options.harm = number(&flag, &value()?, 0, HARM_MAX)?,
                "--latency" => options.latency = Duration::from_millis(number(&flag, &value()?, 0, 1000)?),
                "--functions" => options.functions = Some(PathBuf::from(value()?)),
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--max-median-ms" => limits.median_ms = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-p99-ms" => limits.p99_ms = number(&flag, &value()?, 0.0, f64::MAX)?,
                unknown => return Err(format!("there is no option {unknown}")),
            }
        }
        options.limits = is_limited.then_some(limits);
        Ok(Some(options))
    }
}

#[derive(Default)]
struct Measured {
    warm: Vec<Reaction>,
    cold: Vec<Reaction>,
    /// Left out: somebody else stopped the deployment first.
    overtaken: usize,
    path: Vec<Placed>,
    polling: Vec<Duration>,
    harm: Vec<Undone>,
}

async fn measure(options: &Options) -> Result<Measured, Failure> {
    let functions = functions_folder(options.functions.as_deref())?;
    let mut measured = Measured::default();
    if options.warm + options.cold > 0 {
        let aws = start(&functions).await?;
        let reactions = with_snapback(options, &aws, functions.clone()).await;
        aws.shutdown().await;
        measured = reactions?;
    }
    if options.polling > 0 {
        eprintln!("CodeDeploy's own polling: {} deployments ...", options.polling);
        let aws = start(&functions).await?;
        let polling = without_snapback(options.polling, &aws).await;
        aws.shutdown().await;
        measured.polling = polling?;
    }
    if options.harm > 0 {
        eprintln!("harm: 3 ways, {} bad deployments of each, about 5 minutes ...", options.harm);
        let aws = start(&functions).await?;
        aws.gateway.set_latency(options.latency);
        let harm = harm::play(&aws, &Wiring::built_in()?, &functions, options.harm).await;
        aws.shutdown().await;
        measured.harm = harm?;
    }
    Ok(measured)
}

async fn start(functions: &std::path::Path) -> Result<Emulator, Failure> {
    let config = EmulatorConfig { minute: MINUTE, port: None, store: None, functions: Some(functions.to_path_buf()) };
    Ok(Emulator::start(config).await?)
}

async fn with_snapback(options: &Options, aws: &Emulator, functions: PathBuf) -> Result<Measured, Failure> {
    let wiring = Wiring::built_in()?;
    let name_of = |binary: &str| wiring.function(binary).map(|function| function.name.clone());
    let handler = name_of(ALARM_HANDLER).ok_or("the installation has no alarm handler")?;
    let watcher = name_of("watcher").ok_or("the installation has no watcher")?;
    let before = name_of("before-allow-traffic").ok_or("the installation has no hook before traffic")?;
    let after = name_of("after-allow-traffic").ok_or("the installation has no hook after traffic")?;
    aws.access.iam().enforce(wiring.authority.clone());
    rehearsal::snapback(aws, &wiring, &functions, DEADLINE).await?;
    let count = WARM_UPS + options.warm + options.cold + 1 + OVERTAKEN_MAX;
    eprintln!("{count} services, each with a deployment in its shift ...");
    let mut bench = Bench { aws, handler, deployments: Vec::new(), next: 0, overtaken: 0 };
    bench.deployments = deploy(aws, count, &[("BeforeAllowTraffic", &before), ("AfterAllowTraffic", &after)]).await?;
    // The watcher is the one that sees that traffic shifts; its schedule would begin it within a minute.
    aws.lambda.invoke_async(&watcher, json!({"detail-type": "Scheduled Event", "source": "aws.events"}))?;
    bench.all_in_shift().await?;
    bench.prepare().await?;
    aws.lambda.kill_running(&bench.handler)?;
    aws.gateway.set_latency(options.latency);
    eprintln!("{} warm reactions ...", options.warm);
    bench.react_times(WARM_UPS, false).await?;
    let warm = bench.react_times(options.warm, false).await?;
    eprintln!("{} cold reactions ...", options.cold);
    let cold = bench.react_times(options.cold, true).await?;
    eprintln!("one with {} ms for each call, to see their order ...", PATH_LATENCY.as_millis());
    aws.gateway.set_latency(PATH_LATENCY);
    bench.react_times(1, false).await?;
    let path = bench.react_times(1, false).await?.pop().map(|seen| path(&seen.calls, seen.began)).unwrap_or_default();
    let reactions = |seen: Vec<Seen>| seen.into_iter().map(|seen| seen.reaction).collect();
    let (warm, cold) = (reactions(warm), reactions(cold));
    Ok(Measured { warm, cold, overtaken: bench.overtaken, path, ..Measured::default() })
}

/// Services with a deployment each; answers them with its id.
async fn deploy(aws: &Emulator, count: usize, hooks: &[(&str, &str)]) -> Result<Vec<(String, String)>, Failure> {
    let services: Vec<String> = (0..count).map(|index| format!("service-{index:04}")).collect();
    let mut deployments = Vec::new();
    for some in services.chunks(AT_ONCE) {
        let mut ids = Vec::new();
        for service in some {
            put_alarm(aws, service).await?;
            services::stand_up(aws, service, &[]).await?;
            services::put_policy(aws, service, &policy(service)).await?;
            services::put_past(aws, service, HISTORY_MINUTES).await?;
            ids.push(services::deploy(aws, service, hooks).await?);
        }
        for (service, id) in some.iter().zip(ids) {
            shift_began(aws, &id).await?;
            deployments.push((service.clone(), id));
        }
    }
    Ok(deployments)
}

fn policy(service: &str) -> Value {
    json!({
        "service": service, "mode": "rollback", "before_traffic": {"deadline": format!("{}s", DEADLINE.as_secs())},
        "signals": {"errors": {"alarms": [alarm_of(service)]}}, "bake": "10m", "tick": "10s"
    })
}

fn alarm_of(service: &str) -> String {
    format!("{service}-errors")
}

/// An alarm that goes where it is sent and stays there: its metric never has a point, and that changes nothing.
async fn put_alarm(aws: &Emulator, service: &str) -> Result<(), Failure> {
    let alarm = json!({
        "AlarmName": alarm_of(service), "Namespace": "Checkout", "MetricName": "Failed",
        "Dimensions": [{"Name": "Service", "Value": service}], "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
        "Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "ignore"
    });
    aws.cloudwatch.call("PutMetricAlarm", alarm).await?;
    set_alarm(aws, service, "OK").await
}

async fn set_alarm(aws: &Emulator, service: &str, state: &str) -> Result<(), Failure> {
    let reason = "Threshold Crossed: 1 datapoint [12.0] was greater than or equal to the threshold (1.0).";
    let input = json!({"AlarmName": alarm_of(service), "StateValue": state, "StateReason": reason});
    aws.cloudwatch.call("SetAlarmState", input).await?;
    Ok(())
}

async fn shift_began(aws: &Emulator, deployment: &str) -> Result<(), Failure> {
    let has_begun = |truth: &DeploymentTruth| {
        let is_allowing = truth.events.iter().any(|event| event.name == "AllowTraffic" && event.started_ms.is_some());
        (is_allowing || truth.status.is_final()).then(|| truth.error_code.clone())
    };
    match timeout(WAIT_MAX, aws.codedeploy.wait_until(deployment, has_begun)).await {
        Ok(Some(None)) => Ok(()),
        Ok(Some(Some(code))) => Err(format!("deployment {deployment} ended before its shift: {code}").into()),
        Ok(None) | Err(_) => Err(format!("deployment {deployment} did not get to its shift").into()),
    }
}

struct Bench<'a> {
    aws: &'a Emulator,
    /// Name of the alarm handler.
    handler: String,
    /// Service and deployment id of each repetition.
    deployments: Vec<(String, String)>,
    /// The first one that is not used up.
    next: usize,
    overtaken: usize,
}

/// One repetition.
struct Seen {
    reaction: Reaction,
    /// The handler got the event.
    began: Instant,
    /// The calls that it made until StopDeployment was answered.
    calls: Vec<Call>,
}

impl Bench<'_> {
    /// Everything is on record, and known to be in its shift.
    async fn all_in_shift(&self) -> Result<(), Failure> {
        let aws = self.aws;
        let wait = async {
            loop {
                let records = services::on_record(aws).await?;
                let shifting = records.values().filter(|record| record.phase == "in-shift").count();
                if shifting == self.deployments.len() {
                    return Ok(());
                }
                sleep(LOOK_EVERY).await;
            }
        };
        match timeout(WAIT_MAX, wait).await {
            Ok(done) => done,
            Err(_) => {
                let mut phases: BTreeMap<String, usize> = BTreeMap::new();
                for record in services::on_record(aws).await?.into_values() {
                    *phases.entry(record.phase).or_default() += 1;
                }
                let all = self.deployments.len();
                Err(format!("of {all} deployments these are on record after {} s: {phases:?}", WAIT_MAX.as_secs())
                    .into())
            }
        }
    }

    /// What the handler reads of the next service: its new version fails. Points are visible a second after they came.
    async fn prepare(&self) -> Result<(), Failure> {
        let Some((service, _)) = self.deployments.get(self.next) else { return Ok(()) };
        let at_s = self.aws.clock.now_ms() / 1000;
        let data = services::traffic(service, at_s, 60, CANARY_PERCENT, FAILED_PERCENT);
        services::put_data(self.aws, &data).await
    }

    async fn react_times(&mut self, times: usize, is_cold: bool) -> Result<Vec<Seen>, Failure> {
        let mut all = Vec::new();
        while all.len() < times {
            if is_cold {
                self.end_handlers().await?;
            }
            match self.react().await? {
                Some(seen) => all.push(seen),
                None if self.overtaken == OVERTAKEN_MAX => {
                    return Err("too often the sweep was faster than the alarm handler".into());
                }
                None => self.overtaken += 1,
            }
        }
        Ok(all)
    }

    async fn end_handlers(&self) -> Result<(), Failure> {
        self.aws.lambda.kill_running(&self.handler)?;
        let gone = async {
            while !self.aws.lambda.processes_of(&self.handler).is_empty() {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(WAIT_MAX, gone).await.map_err(|_| "a process of the alarm handler did not end".into())
    }

    /// The next deployment: its alarm goes red, and everything that follows is waited for. `None`: it was not the handler that
    /// stopped it.
    async fn react(&mut self) -> Result<Option<Seen>, Failure> {
        let (service, deployment) = self.deployments.get(self.next).cloned().ok_or("no deployment is left")?;
        self.next += 1;
        let mut events = self.aws.bus.subscribe();
        let mut runs = self.aws.lambda.subscribe();
        let mut calls = self.aws.access.subscribe();
        set_alarm(self.aws, &service, "ALARM").await?;
        let (name, handler) = (alarm_of(&service), self.handler.clone());
        let published = next(&mut events, "the alarm's event", |event: &Published| {
            let detail = event.event.get("detail")?;
            (detail.get("alarmName")?.as_str()? == name).then_some(event.at)
        });
        let published = published.await?;
        let started = next(&mut runs, "the alarm handler", |event| {
            let LambdaEvent::InvocationStarted { function, request_id, asked, began } = event else { return None };
            (*function == handler).then(|| (request_id.clone(), *asked, *began))
        });
        let (request, asked, began) = started.await?;
        let mut made = Vec::new();
        let accepted = next(&mut calls, "StopDeployment", |call: &CallRecord| {
            if call.principal == ALARM_HANDLER && call.began >= began {
                made.push(Call { action: call.action.clone(), began: call.began, ended: call.ended });
            }
            (call.action == STOP && call.outcome == Outcome::Ok).then(|| (call.principal.clone(), call.ended))
        });
        let (by, accepted) = accepted.await?;
        let ended = next(&mut runs, "the end of the alarm handler", |event| {
            let LambdaEvent::InvocationEnded { request_id, error_type, .. } = event else { return None };
            (*request_id == request).then(|| error_type.clone())
        });
        if let Some(error) = ended.await? {
            return Err(format!("the alarm handler failed: {error}").into());
        }
        self.prepare().await?;
        self.settled(&deployment).await?;
        let reaction = Reaction::between(&Moments { published, asked, began, accepted });
        Ok((by == ALARM_HANDLER).then_some(Seen { reaction, began, calls: made }))
    }

    /// The rollback is over and told, so that nothing of it disturbs the next one.
    async fn settled(&self, deployment: &str) -> Result<(), Failure> {
        let wait = async {
            while !services::record_of(self.aws, deployment).await?.is_some_and(|record| record.is_settled) {
                sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        let waited = timeout(WAIT_MAX, wait).await;
        waited.unwrap_or_else(|_| Err(format!("deployment {deployment} was not settled after its rollback").into()))
    }
}

/// The first thing of which `wanted` says something.
async fn next<T: Clone, F>(
    receiver: &mut broadcast::Receiver<T>,
    what: &str,
    mut wanted: impl FnMut(&T) -> Option<F>,
) -> Result<F, Failure> {
    let wait = async {
        loop {
            match receiver.recv().await {
                Ok(event) => {
                    if let Some(found) = wanted(&event) {
                        return Ok(found);
                    }
                }
                Err(error) => return Err(format!("waiting for {what}: {error}").into()),
            }
        }
    };
    let waited = timeout(WAIT_MAX, wait).await;
    waited.unwrap_or_else(|_| Err(format!("{what} did not come within {} s", WAIT_MAX.as_secs()).into()))
}

/// The same services with the alarm on the group and nothing else: from the alarm's event to CodeDeploy stopping the deployment.
async fn without_snapback(count: usize, aws: &Emulator) -> Result<Vec<Duration>, Failure> {
    let mut deployments = Vec::new();
    for index in 0..count {
        let service = format!("service-{index:04}");
        put_alarm(aws, &service).await?;
        services::stand_up(aws, &service, &[alarm_of(&service)]).await?;
        deployments.push((services::deploy(aws, &service, &[]).await?, service));
    }
    for (id, _) in &deployments {
        shift_began(aws, id).await?;
    }
    // They go red at all times between two looks.
    let began = tokio::time::Instant::now();
    let apart = POLL_EVERY / u32::try_from(count.max(1))?;
    let mut took = Vec::new();
    let mut red = Vec::new();
    for (index, (id, service)) in deployments.iter().enumerate() {
        sleep_until(began + apart * u32::try_from(index)?).await;
        let mut events = aws.bus.subscribe();
        set_alarm(aws, service, "ALARM").await?;
        let name = alarm_of(service);
        let published = next(&mut events, "the alarm's event", |event: &Published| {
            let detail = event.event.get("detail")?;
            (detail.get("alarmName")?.as_str()? == name).then_some(event.at_ms)
        });
        red.push((id, published.await?));
    }
    for (id, published_ms) in red {
        let stopped = aws.codedeploy.wait_until(id, |truth| truth.stop.as_ref().map(|stop| stop.at_ms));
        let stopped_ms = timeout(WAIT_MAX, stopped).await.ok().flatten();
        let stopped_ms = stopped_ms.ok_or_else(|| format!("CodeDeploy did not stop deployment {id}"))?;
        took.push(Duration::from_millis(u64::try_from(stopped_ms - published_ms).unwrap_or(0)));
    }
    Ok(took)
}

fn tell(options: &Options, measured: &Measured) -> Result<ExitCode, Failure> {
    let warm = Reactions::of(&measured.warm);
    let cold = Reactions::of(&measured.cold);
    let polling = Summary::of_ms(measured.polling.iter().copied());
    let kinds = [("warm", warm), ("cold", cold)];
    tell_reactions(options, measured, &kinds, polling.as_ref());
    let depth = measured.path.iter().find(|call| call.action == STOP).map(|call| call.step);
    if let Some(depth) = depth {
        println!(
            "\nThe way to StopDeployment: {depth} calls one behind the other (one reaction, {} ms for each call)\n\n{}",
            PATH_LATENCY.as_millis(),
            path_table(&measured.path)
        );
    }
    if !measured.harm.is_empty() {
        println!("\nFrom the first harm to the end of it\n\n{}\n{}\n", harm::table(&measured.harm), harm::about());
    }
    if let Some(file) = &options.json {
        let of_kinds = kinds.map(|(_, reactions)| reactions.map_or(Value::Null, |reactions| reactions.json()));
        let document = document(options, measured, of_kinds, depth);
        write(file, format!("{document:#}\n"))?;
    }
    Ok(limits(options, warm.map(|warm| warm.total).as_ref()))
}

fn tell_reactions(
    options: &Options,
    measured: &Measured,
    kinds: &[(&str, Option<Reactions>)],
    polling: Option<&Summary>,
) {
    let is_told = |(_, reactions): &(&str, Option<Reactions>)| reactions.is_some();
    if polling.is_some() || kinds.iter().any(is_told) {
        let mut table = Table::new(["from the alarm's event to", "count", "median ms", "p90 ms", "p99 ms", "max ms"]);
        for (kind, reactions) in kinds {
            if let Some(reactions) = reactions {
                table.row(row(&format!("StopDeployment accepted, {kind}"), &reactions.total));
            }
        }
        if let Some(polling) = polling {
            table.row(row("CodeDeploy stops by its own polling", polling));
        }
        println!("{table}");
    }
    if kinds.iter().any(is_told) {
        let mut parts = Table::new(["median ms of", "delivery", "start", "handler until StopDeployment"]);
        for (kind, reactions) in kinds {
            if let Some(Reactions { delivery, start, handler, .. }) = reactions {
                let cells = [delivery, start, handler].map(|part| format!("{:.1}", part.median));
                parts.row(std::iter::once((*kind).to_owned()).chain(cells));
            }
        }
        println!("{parts}");
        println!(
            "Each call of a function takes {} ms more than on loopback. A cold start is a process that starts here, with its\nbinary in memory: what Lambda itself takes to make an environment is not in it.",
            options.latency.as_millis()
        );
    }
    if measured.overtaken > 0 {
        println!("{} repetitions are left out: somebody else stopped the deployment first.", measured.overtaken);
    }
    if polling.is_some() {
        println!(
            "CodeDeploy's polling is the emulator's model: it looks at the group's alarms every {} s. AWS documents that CodeDeploy\nreads them (`ignorePollAlarmFailure` of AlarmConfiguration, the permission cloudwatch:DescribeAlarms of its role),\nbut not how often.",
            POLL_EVERY.as_secs()
        );
    }
}

fn row(what: &str, summary: &Summary) -> Vec<String> {
    let figures = [summary.median, summary.p90, summary.p99, summary.max].map(|figure| format!("{figure:.1}"));
    [what.to_owned(), summary.n.to_string()].into_iter().chain(figures).collect()
}

fn document(options: &Options, measured: &Measured, [warm, cold]: [Value; 2], depth: Option<usize>) -> Value {
    let samples = |reactions: &[Reaction]| -> Vec<f64> { reactions.iter().map(|one| ms(one.total())).collect() };
    let path = measured.path.iter().map(
        |call| json!({"call": call.action, "step": call.step, "began_ms": ms(call.began), "ended_ms": ms(call.ended)}),
    );
    json!({
        "bench": "reaction", "latency_ms": options.latency.as_millis(), "warm": warm, "cold": cold,
        "warm_samples_ms": samples(&measured.warm), "cold_samples_ms": samples(&measured.cold),
        "overtaken": measured.overtaken, "codedeploy_polling": Summary::of_ms(measured.polling.iter().copied()).map(|it| it.json_ms()),
        "codedeploy_polls_every_s": POLL_EVERY.as_secs(), "path": path.collect::<Vec<Value>>(),
        "harm": (!measured.harm.is_empty()).then(|| harm::json(&measured.harm)),
        "calls_one_behind_the_other": depth, "path_latency_ms": PATH_LATENCY.as_millis(),
        "limits": options.limits.map(|limits| json!({"median_ms": limits.median_ms, "p99_ms": limits.p99_ms}))
    })
}

/// * `warm`: the warm reactions, milliseconds.
fn limits(options: &Options, warm: Option<&Summary>) -> ExitCode {
    let Some(limits) = options.limits else { return ExitCode::SUCCESS };
    let Some(warm) = warm else {
        println!("no warm reactions, so no limit is checked");
        return ExitCode::SUCCESS;
    };
    let mut is_broken = false;
    for (what, value, limit) in
        [("median", warm.median, limits.median_ms), ("99th percentile", warm.p99, limits.p99_ms)]
    {
        let is_over = value > limit;
        is_broken |= is_over;
        let said = if is_over { "LIMIT BROKEN" } else { "fine" };
        println!("warm, {what}: {value:.1} ms, at most {limit} ms: {said}");
    }
    if is_broken { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        Options::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn limits_hold_unless_they_are_switched_off() {
        let options = read("--warm 5 --max-p99-ms 150.5").unwrap().unwrap();
        assert_eq!(options.limits, Some(Limits { median_ms: 100.0, p99_ms: 150.5 }));
        assert_eq!((options.warm, options.cold, options.polling, options.harm), (5, 30, 20, 4));
        assert_eq!(read("--no-limits").unwrap().unwrap().limits, None);
        assert_eq!(read("--latency 8").unwrap().unwrap().latency, Duration::from_millis(8));
        assert!(read("--warm 1 --help").unwrap().is_none());
    }

    #[test]
    fn every_part_can_be_left_out() {
        let options = read("--warm 0 --cold 0 --polling 0 --harm 0").unwrap().unwrap();
        assert_eq!((options.warm, options.cold, options.polling, options.harm), (0, 0, 0, 0));
        assert_eq!(limits(&options, None), ExitCode::SUCCESS);
    }

    #[test]
    fn what_is_wrong_on_the_command_line_is_named() {
        for (line, words) in [
            ("--warm 1001", "--warm is `1001`, allowed is 0 to 1000"),
            ("--harm 21", "--harm is `21`, allowed is 0 to 20"),
            ("--json", "--json needs a value"),
            ("--latency 8ms", "--latency is `8ms`"),
            ("--hot 3", "there is no option --hot"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.starts_with(words), "{line}: {error}");
        }
    }
}
