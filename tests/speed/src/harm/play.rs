//! Plays the deployments, in real time on one emulator.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use snapback_emulator::Emulator;
use snapback_emulator::codedeploy::DeploymentTruth;
use snapback_emulator::workload::{Workload, WorkloadConfig};
use snapback_rehearsal::wiring::Wiring;
use snapback_rehearsal::{self as rehearsal, ALIAS, Service};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Undone, Way};
use crate::Failure;
use crate::services;

/// Requests a second of each service.
pub const LOAD: u32 = 20;
/// A tenth of the traffic for longer than any measurement. The clock of the fault begins with the check before traffic, a second
/// before the shift.
const SERVICE_KEYS: &str = "{ shift: { percent: 10, minutes: 10 }, versions: { bad: { errors: 1, after-ms: 60000 } } }";
/// What answers later than this has harmed its customer: nothing does. Only the fault is counted, not a busy machine.
const SLOW_ABOVE: Duration = Duration::from_secs(30);
/// Failed requests of a minute, per cent, above which the alarm of the group is red.
const ALARM_PERCENT: u32 = 3;
/// History of a service, minutes: more than the comparison looks at.
const HISTORY_MINUTES: i64 = 65;
/// Deadline of the policies.
const DEADLINE: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
/// From its creation, until a deployment must be undone.
const UNDONE_WITHIN: Duration = Duration::from_secs(600);
/// Who stopped a deployment that CodeDeploy stopped because of an alarm.
const BY_ALARM: &str = "alarm";

/// A service with its customers.
struct Playing {
    way: Way,
    service: Service,
    /// Number of its bad version.
    bad: String,
    workload: Workload,
}

/// Somebody deployed the bad version.
struct Deployed<'a> {
    playing: &'a Playing,
    id: String,
    at: Instant,
}

/// Installs Snapback and `count` services of each way, deploys their bad versions within one minute, and waits until each is
/// undone. The deployments of the ways start together, and the starts are spread evenly over the minute.
///
/// * `aws`: an emulator whose minute is a minute, with nothing on it.
/// * `functions`: folder of the function binaries and the demo application.
///
/// # Errors
/// What is refused; a deployment that is not undone in time, or by somebody else than it should.
pub async fn play(aws: &Emulator, wiring: &Wiring, functions: &Path, count: usize) -> Result<Vec<Undone>, Failure> {
    aws.access.iam().enforce(wiring.authority.clone());
    let topic = rehearsal::snapback(aws, wiring, functions, DEADLINE).await?;
    let mut all = Vec::new();
    for index in 0..count {
        for way in Way::ALL {
            all.push(stand_up(aws, wiring, functions, &topic, way, index).await?);
        }
    }
    let played = deploy_and_wait(aws, wiring, &all, count).await;
    for playing in &all {
        playing.workload.stop().await;
    }
    let restored = played?;
    restored.into_iter().map(|(deployed, truth)| deployed.undone(&truth)).collect()
}

async fn stand_up(
    aws: &Emulator,
    wiring: &Wiring,
    functions: &Path,
    topic: &str,
    way: Way,
    index: usize,
) -> Result<Playing, Failure> {
    let name = format!("harm-{}-{index:02}", way.word());
    let mut service = Service::parse(SERVICE_KEYS)?;
    service.function.clone_from(&name);
    service.group = format!("{name}-live");
    service.name = name;
    let (name, group) = (&service.name, &service.group);
    let versions = rehearsal::service(aws, wiring, functions, &service, &way.policy(name, topic)).await?;
    let bad = versions.get("bad").ok_or("the service has no bad version")?.clone();
    if way == Way::Alarm {
        let alarm = format!("{name}-error-rate");
        let input = services::alarm_on_error_rate(&alarm, name, ALARM_PERCENT);
        aws.cloudwatch.call("PutMetricAlarm", input).await?;
        // Snapback's own alarms go: it is not to act here.
        services::attach_alarms(aws, name, group, &[alarm]).await?;
    }
    services::put_past(aws, name, HISTORY_MINUTES).await?;
    let customers = WorkloadConfig {
        function: name.clone(),
        alias: ALIAS.to_owned(),
        requests_per_second: f64::from(LOAD),
        payload: json!({"path": "/checkout"}),
        slow_above: SLOW_ABOVE,
    };
    let workload = Workload::start(aws.lambda.clone(), customers);
    Ok(Playing { way, service, bad, workload })
}

/// Each deployment with the truth about it, once it is undone.
async fn deploy_and_wait<'a>(
    aws: &Emulator,
    wiring: &Wiring,
    all: &'a [Playing],
    count: usize,
) -> Result<Vec<(Deployed<'a>, DeploymentTruth)>, Failure> {
    let into_minute_ms = u64::try_from(aws.clock.now_ms().rem_euclid(60_000))?;
    let minute = Instant::now() + MINUTE - Duration::from_millis(into_minute_ms);
    let apart = MINUTE / u32::try_from(count.max(1))?;
    let mut deployed = Vec::new();
    for (index, together) in all.chunks(Way::ALL.len()).enumerate() {
        sleep_until(minute + apart / 2 + apart * u32::try_from(index)?).await;
        // Who is first takes turns.
        for playing in together.iter().cycle().skip(index % together.len()).take(together.len()) {
            let id = rehearsal::deploy(aws, wiring, &playing.service, &playing.bad).await?;
            deployed.push(Deployed { playing, id, at: Instant::now() });
        }
    }
    let mut undone = Vec::new();
    for one in deployed {
        let restored = aws.codedeploy.wait_until(&one.id, |truth| truth.restored_ms.map(|_| truth.clone()));
        match timeout_at(one.at + UNDONE_WITHIN, restored).await {
            Ok(Some(truth)) => undone.push((one, truth)),
            Ok(None) | Err(_) => return Err(one.not_undone(aws).await?.into()),
        }
    }
    Ok(undone)
}

impl Deployed<'_> {
    fn name(&self) -> String {
        format!("deployment {} of {}", self.id, self.playing.service.name)
    }

    /// What became of it, when its customers have stopped.
    fn undone(&self, truth: &DeploymentTruth) -> Result<Undone, Failure> {
        let Playing { way, bad, workload, .. } = self.playing;
        let name = self.name();
        let restored_ms = truth.restored_ms.ok_or_else(|| format!("{name} was not undone"))?;
        let first_harm_ms = workload.first_harmed_ms(bad).filter(|first_ms| *first_ms < restored_ms);
        let first_harm_ms = first_harm_ms.ok_or_else(|| format!("{name} was undone before it harmed anybody"))?;
        let stopped_by = truth.stop.as_ref().map(|stop| stop.by.clone()).unwrap_or_default();
        if (stopped_by == BY_ALARM) != (*way == Way::Alarm) {
            return Err(format!("{name} was stopped by `{stopped_by}`, which is not what is measured").into());
        }
        let (of_all, of_bad) = (workload.total(), workload.by_version(bad));
        if of_all.harmed > of_bad.harmed || workload.unsent() > 0 {
            let (others, unsent) = (of_all.harmed - of_bad.harmed, workload.unsent());
            return Err(format!("{name}: {others} requests failed without the bad version, {unsent} could not be sent: the machine is too busy").into());
        }
        Ok(Undone {
            way: *way,
            deployment: self.id.clone(),
            first_harm_ms,
            restored_ms,
            harmed: of_bad.harmed,
            stopped_by,
        })
    }

    /// What is known of it after the longest wait.
    async fn not_undone(&self, aws: &Emulator) -> Result<String, Failure> {
        let record = match services::record_of(aws, &self.id).await? {
            Some(record) => format!("its phase on record is {}", record.phase),
            None => "nothing is on record".to_owned(),
        };
        let platform = match aws.codedeploy.truth_of(&self.id) {
            Some(truth) => format!("CodeDeploy says {:?} ({})", truth.status, truth.error_code.unwrap_or_default()),
            None => "CodeDeploy does not know it".to_owned(),
        };
        let harmed = self.playing.workload.by_version(&self.playing.bad).harmed;
        let within = UNDONE_WITHIN.as_secs();
        Ok(format!("{} was not undone within {within} s: {record}, {platform}, {harmed} harmed", self.name()))
    }
}
