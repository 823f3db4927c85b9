//! A rehearsal as it happens, one line at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use snapback_wire::record::attr;

use crate::install::ALIAS;
use crate::play::Playing;
use crate::table;
use snapback_emulator::Emulator;
use snapback_emulator::access::Outcome;
use snapback_emulator::parts::LambdaControl;

/// How often the emulator is looked at for the timeline.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Traffic is summed up once in this many milliseconds.
const TRAFFIC_EVERY_MS: i64 = 5000;

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since the rehearsal began.
    pub at_ms: i64,
    /// Who or what: `traffic`, `alarm`, `codedeploy`, `alias`, `snapback`, `record`,
    /// `message`, `rehearsal`.
    pub who: &'static str,
    /// What happened.
    pub text: String,
}

/// Takes the lines of a timeline.
pub type Audience = Arc<dyn Fn(&str, Line) + Send + Sync>;

/// Watches everything on the emulator until it is dropped.
pub(crate) struct Watcher<'a> {
    aws: &'a Emulator,
    playing: &'a [Playing<'a>],
    scenario: &'a str,
    audience: &'a Audience,
    opened_ms: i64,
    seen: BTreeSet<String>,
    /// What was last said of the alias of each function.
    aliases: BTreeMap<&'a str, String>,
    traffic_until: i64,
    /// Lines of the present look, not yet in order.
    lines: Vec<Line>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(
        aws: &'a Emulator,
        playing: &'a [Playing<'a>],
        scenario: &'a str,
        audience: &'a Audience,
        opened_ms: i64,
    ) -> Self {
        let traffic_until = opened_ms;
        Self {
            aws,
            playing,
            scenario,
            audience,
            opened_ms,
            seen: BTreeSet::new(),
            aliases: BTreeMap::new(),
            traffic_until,
            lines: Vec::new(),
        }
    }

    /// Looks for ever; the caller drops it.
    pub(crate) async fn run(mut self) {
        loop {
            self.look();
            self.lines.sort_by_key(|line| line.at_ms);
            for line in self.lines.drain(..) {
                (self.audience)(self.scenario, line);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn say(&mut self, at_ms: i64, who: &'static str, text: String) {
        self.lines.push(Line { at_ms: at_ms - self.opened_ms, who, text });
    }

    fn once(&mut self, key: String, at_ms: i64, who: &'static str, text: impl FnOnce() -> String) {
        if self.seen.insert(key) {
            self.say(at_ms, who, text());
        }
    }

    fn look(&mut self) {
        let now = self.aws.clock.now_ms();
        self.look_at_aliases(now);
        self.look_at_traffic(now);
        for (index, published) in self.aws.bus.published().into_iter().enumerate() {
            self.look_at_event(index, published.at_ms, &published.event);
        }
        for (index, call) in self.aws.access.calls().into_iter().enumerate() {
            let is_act = ["codedeploy:StopDeployment", "codedeploy:PutLifecycleEventHookExecutionStatus"]
                .contains(&call.action.as_str());
            if is_act {
                let outcome = match &call.outcome {
                    Outcome::Ok => "accepted".to_owned(),
                    Outcome::Error(code) => format!("refused: {code}"),
                    Outcome::Unanswered { .. } => "never answered".to_owned(),
                };
                let name = call.action.trim_start_matches("codedeploy:").to_owned();
                self.once(format!("call {index}"), call.at_ms, "codedeploy", || {
                    format!("{name} by {}: {outcome}", call.principal)
                });
            }
        }
        for truth in self.aws.codedeploy.truth() {
            for item in table::deployment(&self.aws.dynamodb.database(), &truth.deployment) {
                self.look_at_item(now, &item);
            }
        }
        for (index, message) in self.aws.sns.messages().into_iter().enumerate() {
            self.once(format!("message {index}"), message.at_ms, "message", || {
                format!("to people: {}", message.subject.unwrap_or_default())
            });
        }
    }

    /// In front of a line about one of several services.
    fn whose(&self, playing: &Playing<'_>) -> String {
        if self.playing.len() > 1 { format!("{}: ", playing.service.name) } else { String::new() }
    }

    fn look_at_aliases(&mut self, now: i64) {
        for playing in self.playing {
            let function = playing.service.function.as_str();
            let Some(routing) = self.aws.lambda.alias(function, ALIAS) else { continue };
            let text = match &routing.additional {
                Some((version, share)) => format!(
                    "{:.0} % of traffic to version {version}, the rest to version {}",
                    share * 100.0,
                    routing.version
                ),
                None => format!("all traffic to version {}", routing.version),
            };
            if self.aliases.get(function) != Some(&text) {
                self.say(now, "alias", format!("{}{text}", self.whose(playing)));
                self.aliases.insert(function, text);
            }
        }
    }

    fn look_at_traffic(&mut self, now: i64) {
        if now - self.traffic_until < TRAFFIC_EVERY_MS {
            return;
        }
        let (from, to) = (self.traffic_until.div_euclid(1000), now.div_euclid(1000));
        self.traffic_until = now;
        for playing in self.playing {
            let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            for (_, versions) in playing.workload.per_second().range(from..to) {
                for (version, count) in versions {
                    let entry = counts.entry(version.clone()).or_default();
                    entry.0 += count.requests;
                    entry.1 += count.harmed;
                }
            }
            let parts: Vec<String> = counts
                .iter()
                .map(|(version, (all, harmed))| format!("version {version}: {all} requests, {harmed} harmed"))
                .collect();
            if !parts.is_empty() {
                self.say(now, "traffic", format!("{}{}", self.whose(playing), parts.join(" | ")));
            }
        }
    }

    fn look_at_event(&mut self, index: usize, at_ms: i64, event: &Value) {
        let text_of = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        match text_of("/detail-type").as_str() {
            "CloudWatch Alarm State Change" if text_of("/detail/state/value") != "INSUFFICIENT_DATA" => {
                self.once(format!("event {index}"), at_ms, "alarm", || {
                    format!("{} is {}", text_of("/detail/alarmName"), text_of("/detail/state/value"))
                });
            }
            "CodeDeploy Deployment State-change Notification" => {
                self.once(format!("event {index}"), at_ms, "codedeploy", || {
                    format!("deployment {}: {}", text_of("/detail/deploymentId"), text_of("/detail/state"))
                });
            }
            _ => {}
        }
    }

    fn look_at_item(&mut self, now: i64, item: &serde_json::Map<String, Value>) {
        let text_of = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (pk, sk) = (text_of(attr::PK), text_of(attr::SK));
        if sk == "ROLLBACK" {
            let at_ms = item.get(attr::DETECTED_MS).and_then(Value::as_i64).unwrap_or(now);
            let (cause, trigger) = (text_of(attr::CAUSE), text_of(attr::TRIGGER));
            self.once(format!("{pk} {sk}"), at_ms, "record", || {
                format!("the rollback is on record before any call is made: cause {cause}, trigger {trigger}")
            });
            return;
        }
        let mut parts = sk.split('#');
        let (Some("EVENT"), Some(at), Some(kind)) = (parts.next(), parts.next(), parts.next()) else { return };
        if ["verdict", "closed", "check", "order", "pause", "phase"].contains(&kind) {
            // A phase is noted when somebody looks, with the time at which it began.
            let at_ms = if kind == "phase" { now } else { at.parse().unwrap_or(now) };
            self.once(format!("{pk} {sk}"), at_ms, "snapback", || text_of("text"));
        }
    }
}
