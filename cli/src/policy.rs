//! `snapback policy`: the policy file of a service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use snapback_core::metrics::Source;
use snapback_core::policy::PAIR_EVERY;
use snapback_core::{GroupRef, Mode, Policy, Signal};
use snapback_doctor::{ApiKind, DeclaredRoute, declared_routes};
use snapback_wire::policy_file::{
    DEFAULT_PREFIX, MAX_DOCUMENT, PolicyError, parameter_name, parse_policy_json, parse_policy_value, policy_schema,
};

use crate::output::{Failure, block_on, exit, print_json, print_text};
use crate::record::Account;

/// Largest file that is read; the document itself may have 8 KB.
const MAX_FILE: usize = 64 * 1024;

/// Largest template that is read; CloudFormation takes no longer one.
const MAX_TEMPLATE: usize = 1024 * 1024;

/// Checks before traffic need this long in an account: cold starts, throttling, a second try.
const SHORTEST_DEADLINE: Duration = Duration::from_secs(90);

/// Lambda publishes one point a minute.
const SHORTEST_BUCKET: Duration = Duration::from_secs(60);

/// Subcommands of `snapback policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Print a commented starter
    #[command(after_help = "Example: snapback policy init --service checkout --template template.yaml > snapback.yaml")]
    Init(Init),
    /// Check policy files (YAML or JSON)
    #[command(after_help = "Example: snapback policy check snapback.yaml")]
    Check(Check),
    /// Print the JSON schema, for editors
    Schema,
    /// Check a policy file and store it in SSM Parameter Store, where Snapback reads it
    #[command(after_help = "Example: snapback policy push --group checkout-app/checkout-live snapback.yaml")]
    Push(Push),
}

/// Arguments of `policy init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Name of the service
    #[arg(long, default_value = "my-service")]
    service: String,
    /// SAM template in which what stands in front of the service is looked for
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

/// Arguments of `policy check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Files to check
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Arguments of `policy push`.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Deployment group that the policy is for
    #[arg(long, value_name = "APPLICATION/GROUP", value_parser = GroupRef::parse)]
    group: GroupRef,
    /// Where policies are in Parameter Store
    #[arg(long, env = "SNAPBACK_POLICY_PREFIX", default_value = DEFAULT_PREFIX)]
    prefix: String,
    /// Say what would be stored, and store nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    account: Account,
    /// Policy file (YAML or JSON)
    file: PathBuf,
}

#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    ok: bool,
    error: Option<String>,
    /// What this policy cannot tell, and what it would take.
    cannot_tell: Vec<String>,
}

impl PolicyCommand {
    pub(crate) fn run(self) -> ExitCode {
        exit(match self {
            Self::Init(init) => init.print(),
            Self::Check(check) => check.check(),
            Self::Schema => print_json(&policy_schema()),
            Self::Push(push) => block_on(push.push()),
        })
    }
}

impl Init {
    fn print(&self) -> Result<(), Failure> {
        let service = self.service.trim();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if service.is_empty() || service.len() > 64 || !service.chars().all(is_plain) {
            return Err(Failure::input("--service is a name of 1 to 64 letters, digits, `-`, `_` or `.`"));
        }
        let mut starter = STARTER.replace("my-service", service);
        if let Some(file) = &self.template {
            let front = front_doors(file, service)?;
            starter = starter.replace(&PROPOSED_FRONT.replace("my-service", service), &front);
        }
        print_text(&starter)
    }
}

/// The line of the starter that names what stands in front of the service.
const PROPOSED_FRONT: &str = "#   front: { rest_api: { name: my-service, stage: prod, method: GET, resource: /cart } }   # requests that get lost are seen\n";

/// The same for each route of a template: a person knows the API's name, and which of them is the service's.
fn front_doors(file: &Path, service: &str) -> Result<String, Failure> {
    let shown = file.display();
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::input(format!("{shown}: cannot be read: {error}")))?;
    if text.len() > MAX_TEMPLATE {
        return Err(Failure::input(format!("{shown}: has {} bytes, allowed are {MAX_TEMPLATE}", text.len())));
    }
    let routes = declared_routes(&text).map_err(|error| Failure::input(format!("{shown}: {error}")))?;
    if routes.is_empty() {
        eprintln!("{shown}: no function declares a route of an API; witness.front is only sketched");
        return Ok(PROPOSED_FRONT.replace("my-service", service));
    }
    let line = |route: &DeclaredRoute| {
        let DeclaredRoute { function, kind, method, path } = route;
        match kind {
            ApiKind::Rest => format!(
                "#   front: {{ rest_api: {{ name: NAME, stage: Prod, method: {method}, resource: \"{path}\" }} }}   # of {function}; NAME is the API's name\n"
            ),
            ApiKind::Http => format!(
                "#   front: {{ http_api: {{ id: ID, stage: $default, route: \"{method} {path}\" }} }}   # of {function}; ID is the API's id\n"
            ),
        }
    };
    let found = routes.iter().map(line).collect::<String>();
    Ok(format!("#   # found in {shown}; its stage needs detailed CloudWatch metrics:\n{found}"))
}

impl Check {
    fn check(&self) -> Result<(), Failure> {
        let checked: Vec<Checked> = self
            .files
            .iter()
            .map(|file| {
                let policy = read(file).map(|(_, policy)| policy);
                let cannot_tell = policy.as_ref().map(blind_spots).unwrap_or_default();
                let error = policy.err();
                Checked { file: file.display().to_string(), ok: error.is_none(), error, cannot_tell }
            })
            .collect();
        if self.json {
            print_json(&serde_json::json!({"ok": checked.iter().all(|file| file.ok), "files": checked}))?;
        } else {
            for file in &checked {
                print_text(&format!("{}: {}\n", file.file, file.error.as_deref().unwrap_or("ok")))?;
                for what in &file.cannot_tell {
                    print_text(&format!("  cannot tell: {what}\n"))?;
                }
            }
        }
        let wrong = checked.iter().filter(|file| !file.ok).count();
        if wrong == 0 {
            Ok(())
        } else {
            Err(Failure::input(format!("{wrong} of {} files are not valid", checked.len())))
        }
    }
}

impl Push {
    async fn push(&self) -> Result<(), Failure> {
        let (document, policy) =
            read(&self.file).map_err(|error| Failure::input(format!("{}: {error}", self.file.display())))?;
        // What is stored is what was written, so that its defaults follow the version that reads it.
        let text = document.to_string();
        let stored = parse_policy_json(&text).map_err(Failure::input)?;
        if stored != policy {
            return Err(Failure::unable("the document reads differently as JSON; please report this"));
        }
        let name = parameter_name(&self.prefix, &self.group);
        if self.dry_run {
            return print_text(&format!("would store {} bytes in {name}:\n{text}\n", text.len()));
        }
        let aws = self.account.open().await?;
        aws.put_parameter(&name, &text).await.map_err(Failure::unable)?;
        print_text(&format!("stored {} bytes in {name}: mode {} for {}\n", text.len(), policy.mode, self.group))
    }
}

/// What a policy cannot tell, and what it would take.
fn blind_spots(policy: &Policy) -> Vec<String> {
    let witness = &policy.witness;
    let mut spots = Vec::new();
    let mut spot = |is_blind: bool, what: &str| {
        if is_blind {
            spots.push(what.to_owned());
        }
    };
    let has_alarms = policy.signals.values().any(|signal| !signal.alarms.is_empty());
    spot(
        !policy.is_compared() && !has_alarms && policy.fast.is_none(),
        "whether the new version is bad, but by the alarms that are attached to its group: no signal names an alarm or compares. See signals",
    );
    spot(
        policy.fast.is_some() && policy.mode_of(Some(Signal::Errors)) != Mode::Rollback,
        "anything by the fast path that would be undone: the mode of the signal errors lets nothing be rolled back",
    );
    if !policy.is_compared() {
        return spots;
    }
    spot(
        witness.peers.iter().any(|peer| peer.function == policy.service),
        "an incident of others by a peer that is the service itself: what it fails at would excuse it. Name other functions in witness.peers",
    );
    let has_probe = witness.probe_every.is_some() || policy.fast.is_some();
    spot(
        policy.compares(Signal::Availability) && witness.front.is_none(),
        "requests that get lost in the bake: nothing says that they were sent. Name what stands in front of the service: witness.front",
    );
    spot(
        !has_probe,
        "a fault that begins in the bake from an incident of something the service needs: it is told, not undone. Probe both \
         versions: witness.probe with a repeatable invoke probe",
    );
    spot(
        witness.peers.is_empty() && !has_probe,
        "an incident of a neighbour or a dependency that begins with the shift from a fault of the version: witness.peers or witness.probe",
    );
    for (signal, of) in &policy.signals {
        let is_shared = matches!(&of.source, Some(Source::Api(api)) if api.is_shared());
        let what = format!(
            "handled {signal} of this service: signals.{signal}.metric counts a whole stage, which blames nobody. Name method and resource, or the route"
        );
        spot(is_shared, &what);
    }
    spots
}

/// The document of a file and the policy that it is.
fn read(file: &Path) -> Result<(Value, Policy), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() > MAX_FILE {
        return Err(format!("has {} bytes, allowed are {MAX_FILE}", text.len()));
    }
    // JSON is YAML, too, but its own parser names the place of a slip better; it would let a repeated key win silently.
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_json {
        serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|error| format!("is not JSON: {error}"))?;
    }
    let document: Value = serde_saphyr::from_str(&text).map_err(|error| {
        let why = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        format!("cannot be used: {why}")
    })?;
    if document.is_null() {
        return Err("is empty; `snapback policy init` prints a starter".to_owned());
    }
    // What Parameter Store cannot hold would only be refused when it is pushed.
    let bytes = document.to_string().len();
    if bytes > MAX_DOCUMENT {
        return Err(PolicyError::TooLarge { bytes, most: MAX_DOCUMENT }.to_string());
    }
    let policy = parse_policy_value(&document).map_err(|error| error.to_string())?;
    if policy.before_traffic.deadline < SHORTEST_DEADLINE {
        let file = file.display();
        eprintln!("{file}: warning: `before_traffic.deadline` is below 90s, which is only meant for rehearsals");
    }
    if policy.pairs().is_some_and(|pairs| pairs.every < PAIR_EVERY) {
        let file = file.display();
        eprintln!("{file}: warning: `witness.probe.every` is below 1s, which is only meant for rehearsals");
    }
    if policy.is_compared() && policy.judge.bucket < SHORTEST_BUCKET {
        let file = file.display();
        eprintln!(
            "{file}: warning: `judge.bucket` is below 1m, Lambda has one point a minute; only meant for rehearsals"
        );
    }
    Ok((document, policy))
}

/// A starter that is a valid policy as it stands.
const STARTER: &str = "\
# How Snapback protects my-service. Check it: snapback policy check FILE
service: my-service

# observe: record only. advise: also tell people what would have been done. rollback: do it.
# Begin with advise, and change to rollback when its advice has been right for a while.
mode: advise

before_traffic:
  deadline: 2m                    # for all checks together, 2s to 14m
  red_alarms: exempt              # an alarm that is red already: exempt (a fix can ship) or block
  probes:
    # Calls of the new version before it gets traffic; each must be good.
    # `repeatable: true` is a person's word that thousands of calls a deployment are safe: no order, mail, lock or bill. Only then
    # Snapback calls it beside traffic, too (witness.probe, fast).
    - invoke: { payload: { path: /health }, expect: { status: 200, within: 800ms }, times: 5 }   # , repeatable: true
    # - http: { url: https://my-service.example.com/health, expect: { status: 200 } }
    # - function: { arn: arn:aws:lambda:eu-west-1:123456789012:function:my-check, payload: {}, expect: { status: 200 } }

# The shift and the bake belong together. 10 % for 10 minutes (CodeDeployDefault.LambdaCanary10Percent10Minutes) and a bake of 10
# are proposed: the two versions are compared in the same minutes, where an incident of something both need blames neither, and
# ten such minutes find 1 % of errors at 1,000 requests a minute; five find 5 %. What begins after the shift needs a witness.

# Witnesses tell whether a difference can be laid to the version. Without any, what begins in the bake is told, not undone.
# witness:
#   front: { rest_api: { name: my-service, stage: prod, method: GET, resource: /cart } }   # requests that get lost are seen
#   peers: [other-service:live]     # when they fail too, the version is not blamed
#   probe: { every: 1s }            # both versions are called, with the repeatable probes
# fast: { probes: [invoke], burst: 10 }   # pairs of probes: a total fault is undone in seconds

# By customer impact: CloudWatch alarms, and against_baseline, which compares the new version with the old one on CloudWatch's
# numbers for each version while both get traffic, and with the hour before when the new one has all. An alarm beside
# against_baseline only makes Snapback look; with `sufficient: true` it rolls back alone.
signals:
  errors:
    alarms: [my-service-5xx]
    against_baseline: {}          # Lambda's function errors; {} takes everything as recommended
    # Answers with 5xx that the function handles itself are no errors for Lambda. To count them, publish two metrics:
    # metric: { custom: { namespace: Shop, all: Requests, bad: ServerErrors, dimensions: { Service: my-service }, version: Version, without_probes: true } }
  latency:
    alarms: [my-service-p99]
    against_baseline: {}          # the whole distribution, and the requests above the old version's p90 and p99
  availability:
    # alarms: [my-service-availability]
    against_baseline: {}          # requests that reach the new version; in the bake it needs witness.front
  # transactions:                 # business transactions: attempts and failures that the service publishes itself
  #   alarms: [my-service-payments]
  #   against_baseline: {}
  #   metric: { custom: { namespace: Shop, all: PaymentsTried, bad: PaymentsFailed, dimensions: { Service: my-service }, version: Version, without_probes: true } }
  # slo: { objective: 99.9% }     # rolls back when the error budget burns many times too fast

# judge: { bucket: 1m, ingestion_delay: 30s, alpha: 1% }   # times and strictness of the comparison; Lambda has one point a minute

bake: 10m                         # how long it is watched after all traffic has moved, 0s to 55m
tick: 10s                         # how often the sweep looks

no_evidence:
  silence: pass-with-warning      # too little to tell: pass-with-warning, hold or fail
  unreachable: hold               # could not look: pass-with-warning, hold or fail
at_deadline: fail                 # when a hold reaches its deadline: fail or pass-with-warning
refuse_for: 24h                   # a version that was rolled back is refused for this long

# notify: { sns: arn:aws:sns:eu-west-1:123456789012:on-call }   # default: the installation's topic
";
