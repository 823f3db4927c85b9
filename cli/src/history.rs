//! `snapback history`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;
use snapback_app::ports::{DeploymentStore, Listed, PauseStore};
use snapback_core::deployment::Deployment;
use snapback_core::pause::Pause;
use snapback_core::{GroupRef, Outcome, Timestamp};

use crate::output::{Failure, block_on, exit, human, print_json, print_text};
use crate::pause::{self, Shown, holding};
use crate::record::Source;

/// Arguments of `snapback history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    source: Source,
    /// How many days back
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=400))]
    days: u32,
    /// Only this deployment group
    #[arg(long, value_name = "APPLICATION/GROUP", value_parser = GroupRef::parse)]
    group: Option<GroupRef>,
    /// At most this many deployments
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print one JSON document; times are milliseconds since 1970 (UTC), durations milliseconds
    #[arg(long)]
    json: bool,
}

/// One deployment of `--json`; null where there is none.
#[derive(Debug, Serialize)]
struct Row {
    deployment: String,
    application: String,
    deployment_group: String,
    service: String,
    function: String,
    from_version: String,
    to_version: String,
    created_ms: i64,
    closed_ms: Option<i64>,
    outcome: Option<&'static str>,
    cause: Option<&'static str>,
    trigger: Option<&'static str>,
    time_to_detect_ms: Option<u64>,
    time_to_roll_back_ms: Option<u64>,
    rollback_deployment: Option<String>,
}

#[derive(Debug, Serialize)]
struct Document {
    deployments: Vec<Row>,
    /// Pauses that hold, or why they cannot be read.
    paused: Value,
    /// Pauses that began in the time that is listed, oldest first.
    pauses: Value,
}

/// The outcome of a deployment, once there is one.
pub(crate) fn outcome(deployment: &Deployment) -> Option<&'static str> {
    deployment.outcome().map(Outcome::as_str)
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl History {
    pub(crate) fn run(self) -> ExitCode {
        exit(block_on(self.list()))
    }

    async fn list(self) -> Result<(), Failure> {
        let opened = self.source.open().await?;
        let now = now();
        let from = now - Duration::from_secs(u64::from(self.days) * 86_400);
        // A clock that is a little behind the functions' must not hide the newest deployment.
        let to = now + Duration::from_secs(60);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let fetch = if self.group.is_some() { usize::MAX } else { limit };
        let listed = opened.aws.list(from, to, fetch).await.map_err(Failure::unable);
        let paused = pause::read(&opened.aws).await;
        let pauses = opened.aws.past_pauses(from).await.map_err(|error| error.to_string());
        let is_wanted = |listed: &Listed| self.group.as_ref().is_none_or(|group| listed.0.identity.group == *group);
        let listed: Vec<Listed> = listed?.into_iter().filter(is_wanted).take(limit).collect();
        let group = self.group.as_ref();
        let paused = paused.map(|pauses| holding(pauses, group));
        paused.iter().flatten().for_each(|pause| eprintln!("{}", pause::sentence(pause)));
        let pauses = pauses.map(|mut pauses| {
            pauses.retain(|pause| group.is_none() || pause.scope.covers(group));
            pauses
        });
        if self.json {
            let shown = |pauses: Vec<Pause>| pauses.iter().map(Shown::of).collect::<Vec<_>>();
            return print_json(&Document {
                deployments: listed.iter().map(row).collect(),
                paused: pause::member(&paused.map(shown)),
                pauses: pause::member(&pauses.map(shown)),
            });
        }
        let pauses = match pauses {
            Ok(pauses) if pauses.is_empty() => String::new(),
            Ok(pauses) => format!("\nPauses\n{}", pause::lines(&pauses)),
            Err(why) => format!("\nPauses\n  cannot be read: {why}\n"),
        };
        if listed.is_empty() {
            return print_text(&format!("No deployments on record in the last {} days.\n{pauses}", self.days));
        }
        print_text(&format!("{}\n{pauses}", table(&listed)))
    }
}

fn row((deployment, rollback): &Listed) -> Row {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Row {
        deployment: deployment.identity.id.to_string(),
        application: deployment.identity.group.application().to_owned(),
        deployment_group: deployment.identity.group.group().to_owned(),
        service: deployment.identity.service.clone(),
        function: deployment.identity.target.name().to_owned(),
        from_version: deployment.identity.target.baseline().to_owned(),
        to_version: deployment.identity.target.canary().to_owned(),
        created_ms: deployment.identity.created_at.ms(),
        closed_ms: deployment.closed_at().map(Timestamp::ms),
        outcome: outcome(deployment),
        cause: deployment.blame().map(|blame| blame.cause.as_str()),
        trigger: deployment.blame().map(|blame| blame.trigger.as_str()),
        time_to_detect_ms: rollback.as_ref().and_then(|rollback| rollback.time_to_detect()).map(ms),
        time_to_roll_back_ms: rollback.as_ref().and_then(|rollback| rollback.time_to_roll_back()).map(ms),
        rollback_deployment: rollback.as_ref().and_then(|it| it.rollback_deployment.as_ref()).map(ToString::to_string),
    }
}

fn table(listed: &[Listed]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "created (UTC)",
        "deployment",
        "service",
        "version",
        "outcome",
        "cause",
        "by",
        "detected in",
        "undone in",
    ]);
    for (deployment, rollback) in listed {
        let word = |word: Option<&'static str>| word.unwrap_or("-").to_owned();
        let created = deployment.identity.created_at.to_string();
        table.add_row([
            created.get(..19).unwrap_or(&created).replace('T', " "),
            deployment.identity.id.to_string(),
            deployment.identity.service.clone(),
            format!("{} -> {}", deployment.identity.target.baseline(), deployment.identity.target.canary()),
            outcome(deployment).unwrap_or("running").to_owned(),
            word(deployment.blame().map(|blame| blame.cause.as_str())),
            word(deployment.blame().map(|blame| blame.trigger.as_str())),
            human(rollback.as_ref().and_then(|rollback| rollback.time_to_detect())),
            human(rollback.as_ref().and_then(|rollback| rollback.time_to_roll_back())),
        ]);
    }
    table
}
