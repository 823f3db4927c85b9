//! What the sweep costs: `make bench-sweep`.
//!
//! The real `watcher` runs on the embedded AWS and looks after many services, each with a canary deployment in its shift.
//! Their metrics by version are made up; no service has a process. After all deployments are on record, the calls of the
//! watcher are counted over some of its minutes (of 60 s), and compared with limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use snapback_stage::embedded::EmbeddedAws;
use snapback_stage::lambda::{AsyncConfig, FunctionConfig};
use snapback_stage::parts::{ACCOUNT, AliasRouting, LambdaControl};
use snapback_stage::rehearsal::{ALIAS, POLICY_PREFIX, TABLE};
use snapback_stage::stage::StageConfig;
use tokio::time::{Instant, sleep, sleep_until};

const HELP: &str = "\
Measures what the sweep costs on the embedded AWS.

Usage: bench-sweep [OPTIONS]

  --deployments N          services with a running deployment each (default 100)
  --minutes M              minutes that are measured (default 3)
  --bucket SECONDS         bucket of the policies, and of `new bucket` below (default 60)
  --alarms                 policies that name one alarm each, instead of ones that compare versions
  --functions DIR          folder of the watcher binary (default: this one's)
  --no-limits              only print; otherwise the exit code is 1 when a limit is broken:
  --max-get-metric-data X  GetMetricData per minute and 100 deployments (default 5)
  --max-batch-get X        BatchGetDeployments per minute and 100 deployments (default 4)
  --max-describe-alarms X  DescribeAlarms per minute and 100 deployments (default 2)
  --max-dynamodb X         DynamoDB calls per deployment and new bucket (default 2)
  --max-rss-mb X           largest resident memory of a watcher process, MiB (default 256)";

const WATCHER: &str = "snapback-watcher";
/// Access key of the watcher: by it its calls are told from others.
const PRINCIPAL: &str = "watcher";
/// One minute of the watcher.
const MINUTE: Duration = Duration::from_secs(60);
/// Minutes within which all deployments must be on record.
const REGISTRATION_MINUTES_MAX: u32 = 10;
/// Log lines of the watcher that are shown when they are not.
const LOG_LINES: usize = 10;
/// History that is there before the deployments, in minutes: the hour that a policy looks back by default.
const HISTORY_MINUTES: i64 = 62;
/// Requests a second of each service.
const LOAD: i64 = 20;
/// Seconds between two points of one service; each second another part of the services gets theirs.
const POINT_EVERY_S: i64 = 10;
/// Share of the new version, per cent.
const CANARY_PERCENT: i64 = 30;
/// Latencies, in ms, of which each bucket has its share; fixed, so that nothing looks slower than before.
const LATENCIES_MS: [f64; 5] = [20.0, 35.0, 50.0, 65.0, 80.0];
/// Data of one PutMetricData.
const DATA_PER_PUT: usize = 900;

#[derive(Debug, Clone)]
struct Options {
    deployments: usize,
    minutes: u32,
    bucket_s: u32,
    alarms: bool,
    functions: Option<PathBuf>,
    limits: Option<Limits>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    get_metric_data: f64,
    batch_get: f64,
    describe_alarms: f64,
    dynamodb: f64,
    rss_mb: f64,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("bench-sweep: {why}; see --help");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench-sweep: cannot start: {error}");
            return ExitCode::from(3);
        }
    };
    match runtime.block_on(measure(&options)) {
        Ok(measured) => tell(&options, &measured),
        Err(error) => {
            eprintln!("bench-sweep: {error}");
            ExitCode::from(3)
        }
    }
}

impl Options {
    /// `None` when help is asked for.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut limits =
            Limits { get_metric_data: 5.0, batch_get: 4.0, describe_alarms: 2.0, dynamodb: 2.0, rss_mb: 256.0 };
        let mut options =
            Self { deployments: 100, minutes: 3, bucket_s: 60, alarms: false, functions: None, limits: None };
        let mut is_limited = true;
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--alarms" => options.alarms = true,
                "--no-limits" => is_limited = false,
                "--deployments" => options.deployments = number(&flag, &value()?, 1, 2000)?,
                "--minutes" => options.minutes = number(&flag, &value()?, 1, 60)?,
                "--bucket" => options.bucket_s = number(&flag, &value()?, 5, 60)?,
                "--functions" => options.functions = Some(PathBuf::from(value()?)),
                "--max-get-metric-data" => limits.get_metric_data = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-batch-get" => limits.batch_get = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-describe-alarms" => limits.describe_alarms = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-dynamodb" => limits.dynamodb = number(&flag, &value()?, 0.0, f64::MAX)?,
                "--max-rss-mb" => limits.rss_mb = number(&flag, &value()?, 0.0, f64::MAX)?,
                unknown => return Err(format!("there is no option {unknown}")),
            }
        }
        options.limits = is_limited.then_some(limits);
        Ok(Some(options))
    }

    fn functions(&self) -> Result<PathBuf, Failure> {
        let own = std::env::current_exe()?;
        let beside = own.parent().map(PathBuf::from);
        let folder = self.functions.clone().or(beside).ok_or("cannot tell where the functions are: --functions DIR")?;
        let watcher = folder.join("watcher");
        if watcher.is_file() {
            Ok(folder)
        } else {
            Err(format!("{} is missing; build it with: make binaries", watcher.display()).into())
        }
    }
}

fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(
    flag: &str,
    text: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(value) if (&least..=&most).contains(&&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("{flag} is `{text}`, allowed is {least} to {most}")),
    }
}

/// Calls of the watcher by action.
type Calls = BTreeMap<String, u64>;

struct Measured {
    calls: Calls,
    rss_max_kb: u64,
}

async fn measure(options: &Options) -> Result<Measured, Failure> {
    let functions = options.functions()?;
    let config = StageConfig { minute: MINUTE, port: None, store: None };
    let aws = Arc::new(EmbeddedAws::start(config, functions.clone()).await?);
    let measured = on_stage(options, &aws, functions).await;
    aws.shutdown().await;
    measured
}

async fn on_stage(options: &Options, aws: &Arc<EmbeddedAws>, functions: PathBuf) -> Result<Measured, Failure> {
    install(aws, functions).await?;
    let services: Vec<String> = (0..options.deployments).map(|index| format!("service-{index:04}")).collect();
    for service in &services {
        stand_up(aws, service, options).await?;
    }
    past(aws, &services).await?;
    for service in &services {
        deploy(aws, service).await?;
    }
    let rss = Arc::new(AtomicU64::new(0));
    let (traffic_aws, watched_aws, peak) = (Arc::clone(aws), Arc::clone(aws), Arc::clone(&rss));
    let traffic =
        tokio::spawn(async move { present(&traffic_aws, &services).await.map_err(|error| error.to_string()) });
    let memory = tokio::spawn(async move { watch_memory(&watched_aws, &peak).await });
    let calls = tokio::select! {
        calls = sweep(options, aws) => calls,
        broken = traffic => Err(broken?.err().unwrap_or_else(|| "the traffic ended".to_owned()).into()),
    };
    memory.abort();
    Ok(Measured { calls: calls?, rss_max_kb: rss.load(Ordering::Relaxed) })
}

/// Table, topic and watcher.
async fn install(aws: &EmbeddedAws, functions: PathBuf) -> Result<(), Failure> {
    let table = snapback_wire::record::create_table_request(TABLE);
    aws.call(aws.stage.dynamodb.as_ref(), "dynamodb", "CreateTable", table).await.map_err(|fault| fault.message)?;
    let topic = aws.stage.sns.create_topic("snapback");
    let mut config = FunctionConfig::new(WATCHER, functions.join("watcher"), PRINCIPAL);
    config.timeout = Duration::from_secs(90);
    config.async_config = AsyncConfig { max_retries: 0, max_event_age: MINUTE, on_failure: None };
    config.environment =
        [("SNAPBACK_TABLE", TABLE), ("SNAPBACK_TOPIC_ARN", topic.as_str()), ("SNAPBACK_POLICY_PREFIX", POLICY_PREFIX)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    Ok(aws.lambda.create_function(config)?)
}

fn policy(service: &str, options: &Options) -> Value {
    let signals = if options.alarms {
        json!({"errors": {"alarms": [format!("{service}-errors")]}})
    } else {
        json!({
            "errors": {"against_baseline": {}},
            "latency": {"against_baseline": {}},
            "availability": {"against_baseline": {}}
        })
    };
    let mut policy = json!({"service": service, "mode": "rollback", "signals": signals, "bake": "10m", "tick": "10s"});
    if let (false, Some(members)) = (options.alarms, policy.as_object_mut()) {
        members.insert("judge".to_owned(), json!({"bucket": format!("{}s", options.bucket_s)}));
    }
    policy
}

/// Function with two versions, alias, alarm, group and policy of one service.
async fn stand_up(aws: &EmbeddedAws, service: &str, options: &Options) -> Result<(), Failure> {
    let mut config = FunctionConfig::new(service, "/bin/sh", service);
    // Nothing ever runs, so no binary is read.
    config.package = Some(service.as_bytes().to_vec());
    aws.lambda.create_function(config)?;
    let old = aws.lambda.publish_version(service, None)?;
    aws.lambda.update_code(service, "/bin/sh".into(), Some(format!("{service} anew").into_bytes()))?;
    aws.lambda.publish_version(service, None)?;
    aws.lambda.create_alias(service, ALIAS, AliasRouting { version: old, additional: None })?;
    if options.alarms {
        let alarm = json!({
            "AlarmName": format!("{service}-errors"), "Namespace": "AWS/Lambda", "MetricName": "Errors",
            "Dimensions": dimensions(service, None), "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
            "Threshold": 100, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"
        });
        aws.cloudwatch.call("PutMetricAlarm", alarm).await?;
    }
    codedeploy(aws, "CreateApplication", json!({"applicationName": service, "computePlatform": "Lambda"})).await?;
    let name = format!("{service}-canary");
    let canary = json!({"canaryPercentage": CANARY_PERCENT, "canaryInterval": 600});
    let config = json!({
        "deploymentConfigName": name, "computePlatform": "Lambda",
        "trafficRoutingConfig": {"type": "TimeBasedCanary", "timeBasedCanary": canary}
    });
    codedeploy(aws, "CreateDeploymentConfig", config).await?;
    let group = json!({
        "applicationName": service, "deploymentGroupName": service, "deploymentConfigName": name,
        "serviceRoleArn": format!("arn:aws:iam::{ACCOUNT}:role/codedeploy"),
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "autoRollbackConfiguration": {"enabled": true, "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_REQUEST"]}
    });
    codedeploy(aws, "CreateDeploymentGroup", group).await?;
    let parameter = json!({
        "Name": format!("{POLICY_PREFIX}/{service}/{service}"), "Value": policy(service, options).to_string(), "Type": "String"
    });
    aws.call(aws.stage.ssm.as_ref(), "ssm", "PutParameter", parameter).await.map_err(|fault| fault.message)?;
    Ok(())
}

/// A deployment without hooks: its shift begins at once and outlasts the measurement.
async fn deploy(aws: &EmbeddedAws, service: &str) -> Result<(), Failure> {
    let spec = json!({
        "version": 0.0,
        "Resources": [{service: {
            "Type": "AWS::Lambda::Function",
            "Properties": {"Name": service, "Alias": ALIAS, "CurrentVersion": "1", "TargetVersion": "2"}
        }}]
    });
    let revision = json!({"revisionType": "AppSpecContent", "appSpecContent": {"content": spec.to_string()}});
    let input = json!({"applicationName": service, "deploymentGroupName": service, "revision": revision});
    codedeploy(aws, "CreateDeployment", input).await
}

async fn codedeploy(aws: &EmbeddedAws, operation: &str, input: Value) -> Result<(), Failure> {
    let service = aws.stage.codedeploy.clone();
    let answer = aws.call(&service, "codedeploy", operation, input).await;
    answer.map(drop).map_err(|fault| format!("{operation}: {}: {}", fault.code, fault.message).into())
}

fn dimensions(service: &str, version: Option<&str>) -> Value {
    let dimension = |name: &str, value: &str| json!({"Name": name, "Value": value});
    let mut dimensions = vec![dimension("FunctionName", service), dimension("Resource", &format!("{service}:{ALIAS}"))];
    dimensions.extend(version.map(|version| dimension("ExecutedVersion", version)));
    Value::Array(dimensions)
}

/// What `requests` of one version, or of the whole alias, leave in `AWS/Lambda`.
fn data(service: &str, version: Option<&str>, at_s: i64, requests: i64) -> Vec<Value> {
    let datum = |name: &str, values: &[f64], each: i64| {
        let counts = vec![each; values.len()];
        json!({
            "MetricName": name, "Dimensions": dimensions(service, version), "Timestamp": at_s,
            "Values": values, "Counts": counts, "StorageResolution": 1
        })
    };
    let of_each = (requests / 5).max(1);
    vec![
        datum("Invocations", &[1.0], requests),
        datum("Errors", &[0.0], requests),
        datum("Duration", &LATENCIES_MS, of_each),
    ]
}

/// Data of `seconds` of traffic of a service whose new version gets `percent` of it.
fn traffic(service: &str, at_s: i64, seconds: i64, percent: i64) -> Vec<Value> {
    let all = LOAD * seconds;
    let new = all * percent / 100;
    let mut data_of_all = data(service, None, at_s, all);
    data_of_all.extend(data(service, Some("1"), at_s, all - new));
    if new > 0 {
        data_of_all.extend(data(service, Some("2"), at_s, new));
    }
    data_of_all
}

async fn put(aws: &EmbeddedAws, data: Vec<Value>) -> Result<(), Failure> {
    for part in data.chunks(DATA_PER_PUT) {
        aws.cloudwatch.call("PutMetricData", json!({"Namespace": "AWS/Lambda", "MetricData": part})).await?;
    }
    Ok(())
}

/// The hour before.
async fn past(aws: &EmbeddedAws, services: &[String]) -> Result<(), Failure> {
    let now_s = aws.stage.clock.now_ms() / 1000;
    for service in services {
        let minutes = (1..=HISTORY_MINUTES).rev().map(|minute| now_s - minute * 60);
        put(aws, minutes.flat_map(|at_s| traffic(service, at_s, 60, 0)).collect()).await?;
    }
    Ok(())
}

/// Traffic from now on, for ever: each second a tenth of the services get their points of ten seconds.
async fn present(aws: &EmbeddedAws, services: &[String]) -> Result<(), Failure> {
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for second in 0_usize.. {
        every_second.tick().await;
        let at_s = aws.stage.clock.now_ms() / 1000;
        let turn = usize::try_from(POINT_EVERY_S).unwrap_or(1);
        let theirs = services.iter().skip(second % turn).step_by(turn);
        put(aws, theirs.flat_map(|service| traffic(service, at_s, POINT_EVERY_S, CANARY_PERCENT)).collect()).await?;
    }
    Ok(())
}

/// Lets the watcher run once a minute until everything is on record, then counts.
async fn sweep(options: &Options, aws: &EmbeddedAws) -> Result<Calls, Failure> {
    let mut at = Instant::now();
    let mut registering = 0;
    while on_record(aws).await? < options.deployments {
        if registering == REGISTRATION_MINUTES_MAX {
            let found = on_record(aws).await?;
            let log = aws.lambda.log(WATCHER);
            let last: Vec<&str> = log.iter().rev().take(LOG_LINES).rev().map(|line| line.text.as_str()).collect();
            let said = last.join("\n");
            return Err(format!("only {found} deployments are on record after {registering} minutes:\n{said}").into());
        }
        registering += 1;
        eprintln!("minute {registering}: the watcher puts the deployments on record ...");
        at = one_minute(aws, at).await?;
    }
    let before = calls(aws);
    for minute in 1..=options.minutes {
        eprintln!("measured minute {minute} of {} ...", options.minutes);
        at = one_minute(aws, at).await?;
    }
    let mut counted = calls(aws);
    for (action, count) in before {
        if let Some(all) = counted.get_mut(&action) {
            *all -= count;
        }
    }
    Ok(counted)
}

/// One run of the watcher, as its schedule begins it. The next one is due at the time that is answered.
async fn one_minute(aws: &EmbeddedAws, at: Instant) -> Result<Instant, Failure> {
    aws.lambda.invoke_async(WATCHER, json!({"detail-type": "Scheduled Event", "source": "aws.events"}))?;
    let next = at + MINUTE;
    sleep_until(next).await;
    Ok(next)
}

/// STATE items in the table.
async fn on_record(aws: &EmbeddedAws) -> Result<usize, Failure> {
    let scan = json!({
        "TableName": TABLE, "FilterExpression": "sk = :state", "ExpressionAttributeValues": {":state": {"S": "STATE"}},
        "ProjectionExpression": "pk"
    });
    let (mut found, mut start) = (0, Value::Null);
    loop {
        let mut page = scan.clone();
        if let (false, Some(members)) = (start.is_null(), page.as_object_mut()) {
            members.insert("ExclusiveStartKey".to_owned(), start);
        }
        let answer = aws.call(aws.stage.dynamodb.as_ref(), "dynamodb", "Scan", page).await;
        let answer = answer.map_err(|fault| fault.message)?;
        found += answer.get("Items").and_then(Value::as_array).map_or(0, Vec::len);
        start = answer.get("LastEvaluatedKey").cloned().unwrap_or(Value::Null);
        if start.is_null() {
            return Ok(found);
        }
    }
}

fn calls(aws: &EmbeddedAws) -> Calls {
    let counts = aws.stage.access.counts().into_iter();
    counts.filter(|((principal, _), _)| principal == PRINCIPAL).map(|((_, action), count)| (action, count)).collect()
}

/// Keeps the largest resident memory of a process in `peak_kb`.
async fn watch_memory(aws: &EmbeddedAws, peak_kb: &AtomicU64) {
    loop {
        for pid in aws.lambda.process_ids() {
            if let Some(kb) = resident_kb(pid).await {
                peak_kb.fetch_max(kb, Ordering::Relaxed);
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// The process's own high-water mark where the system keeps one, else what it has now.
async fn resident_kb(pid: u32) -> Option<u64> {
    if let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        return line.split_whitespace().next()?.parse().ok();
    }
    let said = tokio::process::Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output().await.ok()?;
    String::from_utf8_lossy(&said.stdout).trim().parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^52")]
fn tell(options: &Options, measured: &Measured) -> ExitCode {
    let (deployments, minutes) = (options.deployments as f64, f64::from(options.minutes));
    let per_minute = |count: u64| count as f64 / minutes;
    let per_hundred = |count: u64| per_minute(count) * 100.0 / deployments;
    println!("{} deployments in their shift, {} minutes of the watcher\n", options.deployments, options.minutes);
    println!("{:<44} {:>12} {:>24}", "calls of the watcher", "per minute", "per minute and 100");
    for (action, count) in measured.calls.iter().filter(|(_, count)| **count > 0) {
        println!("{action:<44} {:>12.1} {:>24.2}", per_minute(*count), per_hundred(*count));
    }
    let count_of = |action: &str| measured.calls.get(action).copied().unwrap_or(0);
    let dynamodb: u64 =
        measured.calls.iter().filter(|(action, _)| action.starts_with("dynamodb:")).map(|(_, count)| count).sum();
    let buckets = minutes * 60.0 / f64::from(options.bucket_s);
    let figures = |limits: Limits| {
        [
            (
                "GetMetricData per minute and 100",
                per_hundred(count_of("cloudwatch:GetMetricData")),
                limits.get_metric_data,
            ),
            (
                "BatchGetDeployments per minute and 100",
                per_hundred(count_of("codedeploy:BatchGetDeployments")),
                limits.batch_get,
            ),
            (
                "DescribeAlarms per minute and 100",
                per_hundred(count_of("cloudwatch:DescribeAlarms")),
                limits.describe_alarms,
            ),
            ("DynamoDB per deployment and new bucket", dynamodb as f64 / deployments / buckets, limits.dynamodb),
            ("largest watcher process, MiB", measured.rss_max_kb as f64 / 1024.0, limits.rss_mb),
        ]
    };
    println!();
    let none = f64::INFINITY;
    let unlimited =
        Limits { get_metric_data: none, batch_get: none, describe_alarms: none, dynamodb: none, rss_mb: none };
    let mut is_broken = false;
    for (what, value, limit) in figures(options.limits.unwrap_or(unlimited)) {
        let is_over = value > limit;
        is_broken |= is_over;
        let said = match (limit.is_finite(), is_over) {
            (false, _) => String::new(),
            (true, true) => format!("LIMIT BROKEN: {limit}"),
            (true, false) => format!("at most {limit}"),
        };
        println!("{what:<44} {value:>12.2}   {said}");
    }
    if is_broken { ExitCode::from(1) } else { ExitCode::SUCCESS }
}
