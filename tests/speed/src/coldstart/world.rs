//! A fresh emulator with an installation of Snapback and a service to deploy, behind TLS.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use snapback_emulator::lambda::LambdaEvent;
use snapback_emulator::parts::{AliasRouting, LambdaControl};
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_rehearsal::wiring::Wiring;
use snapback_rehearsal::{ALIAS, GROUP, POLICY_PREFIX, SERVICE, Service, policy, service, snapback};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::timeout;

use super::certificates::Certificates;
use super::code::ROOTS;
use super::error::Failure;
use super::front::Fronts;
use super::recorder::{AtPoll, Process, Recorder};
use super::session::BEFORE;

/// Deadline of the policy; long enough for a function under valgrind.
const DEADLINE: Duration = Duration::from_secs(45);
/// Longest wait for anything.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Groups that [`super::session::others`] deploys to.
const GROUPS_OF_ALL: usize = 3;
/// The version that is deployed.
const NEXT: &str = "next";
/// Log lines of a function that are shown when something does not come.
const LOG_LINES: usize = 12;
/// Two probes, four alarms, and a bake that outlasts the benchmark.
const KEYS: &str = "{load: 0, versions: {next: {}}, shift: CodeDeployDefault.LambdaAllAtOnce, \
    policy: {bake: 10m, before_traffic: {deadline: 45s}}}";

/// What an emulator is built of.
pub struct Plan<'a> {
    /// Folder with a file for each function.
    pub code: &'a Path,
    /// Of the TLS servers.
    pub certificates: &'a Certificates,
    /// Added to each request.
    pub latency: Duration,
    /// What is done to each process.
    pub at_poll: AtPoll,
    /// Who is on it.
    pub cast: Cast,
}

/// Functions of Snapback, and groups, so that one can be deployed to while another still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// Only the hook before traffic.
    Hook {
        /// A group for each.
        deployments: usize,
    },
    /// All functions.
    All,
}

/// An emulator on which things are measured.
pub struct World {
    /// The embedded AWS.
    pub aws: Emulator,
    /// What the functions talk to.
    pub fronts: Fronts,
    /// What their processes do.
    pub recorder: Arc<Recorder>,
    /// Name of each function, by that of its binary.
    names: BTreeMap<String, String>,
    /// Number of the version that is deployed.
    next: String,
    /// Invocations that are over, by function: their process is free for the next one.
    over: watch::Receiver<BTreeMap<String, usize>>,
}

impl World {
    /// Sets everything up. No rule and no schedule is on it: a function is called when the benchmark calls it.
    ///
    /// # Errors
    /// When a part of the emulator refuses.
    pub async fn build(plan: &Plan<'_>) -> Result<Self, Failure> {
        let config = EmulatorConfig {
            minute: Duration::from_secs(60),
            port: None,
            store: None,
            functions: Some(plan.code.to_path_buf()),
        };
        let aws = Emulator::start(config).await?;
        let gateway = aws.endpoint().trim_start_matches("http://").parse()?;
        let fronts = Fronts::start(gateway, Arc::clone(&plan.certificates.server), plan.latency).await?;
        let mut wiring = Wiring::built_in()?;
        wiring.rules.clear();
        wiring.functions.retain(|function| plan.cast == Cast::All || function.binary == BEFORE);
        for function in &mut wiring.functions {
            let endpoints = fronts.endpoints.iter();
            function.environment.extend(endpoints.map(|(name, url)| (format!("AWS_ENDPOINT_URL_{name}"), url.clone())));
            for trust in ["SNAPBACK_EXTRA_ROOTS", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
                function.environment.insert(trust.to_owned(), plan.code.join(ROOTS).display().to_string());
            }
        }
        let names = wiring.functions.iter().map(|function| (function.binary.clone(), function.name.clone())).collect();
        let principals =
            wiring.functions.iter().map(|function| (function.name.clone(), function.binary.clone())).collect();
        let recorder = Arc::new(Recorder::new(principals, aws.access.clone(), fronts.book(), plan.at_poll.clone()));
        let told = Arc::clone(&recorder);
        aws.lambda.observe(Arc::new(move |moment| told.observe(moment)));
        aws.access.iam().enforce(wiring.authority.clone());
        let topic = snapback(&aws, &wiring, plan.code, DEADLINE).await?;
        let keys = Service::parse(KEYS)?;
        let policy = policy(&keys, &topic);
        let versions = service(&aws, &wiring, plan.code, &keys, &policy).await?;
        let next = versions.get(NEXT).cloned().ok_or("the service has no version to deploy")?;
        let live = versions.get("live").cloned().ok_or("the service has no version that serves")?;
        let over = count_ends(aws.lambda.subscribe());
        let world = Self { aws, fronts, recorder, names, next, over };
        let groups = match plan.cast {
            Cast::Hook { deployments } => deployments,
            Cast::All => GROUPS_OF_ALL,
        };
        for group in 1..groups {
            world.add_group(group, &live, &policy).await?;
        }
        Ok(world)
    }

    /// Ends everything and waits until no process is left.
    pub async fn end(self) {
        self.aws.shutdown().await;
    }

    /// Name of the function whose binary is `binary`.
    ///
    /// # Errors
    /// When the template has none.
    pub fn name(&self, binary: &str) -> Result<&str, Failure> {
        let name = self.names.get(binary).map(String::as_str);
        name.ok_or_else(|| format!("the template has no function `{binary}`").into())
    }

    /// One more alias and deployment group, like the first.
    async fn add_group(&self, number: usize, live: &str, policy: &Value) -> Result<(), Failure> {
        let (alias, group) = names_of(number);
        let routing = AliasRouting { version: live.to_owned(), additional: None };
        self.aws.lambda.create_alias(SERVICE, &alias, routing)?;
        let first = json!({"applicationName": SERVICE, "deploymentGroupName": GROUP});
        let first = self.codedeploy("GetDeploymentGroup", first).await?;
        let first = first.get("deploymentGroupInfo").cloned().unwrap_or_default();
        let mut input = json!({"applicationName": SERVICE, "deploymentGroupName": group});
        for member in [
            "deploymentConfigName",
            "serviceRoleArn",
            "deploymentStyle",
            "autoRollbackConfiguration",
            "alarmConfiguration",
        ] {
            if let (Some(input), Some(value)) = (input.as_object_mut(), first.get(member)) {
                input.insert(member.to_owned(), value.clone());
            }
        }
        self.codedeploy("CreateDeploymentGroup", input).await?;
        let parameter = json!({
            "Name": format!("{POLICY_PREFIX}/{SERVICE}/{group}"), "Value": policy.to_string(), "Type": "String"
        });
        let ssm = self.aws.ssm.as_ref();
        self.aws.call(ssm, "ssm", "PutParameter", parameter).await.map_err(|fault| fault.message)?;
        Ok(())
    }

    /// Deploys the new version in a group; answers the deployment's id.
    ///
    /// * `hooks`: lifecycle event and binary of the function.
    /// * `config`: name of the deployment configuration.
    ///
    /// # Errors
    /// When CodeDeploy refuses.
    pub async fn deploy(&self, group: usize, hooks: &[(&str, &str)], config: &str) -> Result<String, Failure> {
        let (alias, group) = names_of(group);
        let current = self.aws.lambda.alias(SERVICE, &alias).map(|routing| routing.version).unwrap_or_default();
        let mut functions = Vec::new();
        for (event, binary) in hooks {
            functions.push(json!({*event: self.name(binary)?}));
        }
        let spec = json!({
            "version": 0.0,
            "Resources": [{SERVICE: {
                "Type": "AWS::Lambda::Function",
                "Properties": {"Name": SERVICE, "Alias": alias, "CurrentVersion": current, "TargetVersion": self.next}
            }}],
            "Hooks": functions
        });
        let input = json!({
            "applicationName": SERVICE,
            "deploymentGroupName": group,
            "deploymentConfigName": config,
            "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"content": spec.to_string()}}
        });
        let answer = self.codedeploy("CreateDeployment", input).await?;
        Ok(answer.get("deploymentId").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    async fn codedeploy(&self, operation: &str, input: Value) -> Result<Value, Failure> {
        let service = self.aws.codedeploy.clone();
        let answer = self.aws.call(&service, "codedeploy", operation, input).await;
        answer.map_err(|fault| format!("{operation}: {}: {}", fault.code, fault.message).into())
    }

    /// The only process of a function, once `is_so` of it.
    ///
    /// # Errors
    /// When that does not come, with what the function said; when it has several processes, or one that is gone.
    pub async fn process(
        &self,
        binary: &str,
        what: &str,
        is_so: impl Fn(&Process) -> bool,
    ) -> Result<Process, Failure> {
        let name = self.name(binary)?;
        let seen = self.recorder.wait_for(name, |processes| match processes {
            [] => None,
            [process] if is_so(process) => Some(Ok(process.clone())),
            [process] if process.has_ended => Some(Err("its process is gone")),
            [_] => None,
            [_, _, ..] => Some(Err("it has more than one process")),
        });
        match timeout(WAIT_MAX, seen).await {
            Ok(Ok(process)) => Ok(process),
            Ok(Err(why)) => Err(self.did_not(name, what, why)),
            Err(_) => Err(self.did_not(name, what, &format!("nothing happened for {} s", WAIT_MAX.as_secs()))),
        }
    }

    /// The process of a function after its `number`th answer (from 1), which must be no error; it is free for the next event.
    ///
    /// # Errors
    /// As [`World::process`]; when it answered an error.
    pub async fn answered(&self, binary: &str, number: usize) -> Result<Process, Failure> {
        let process = self.process(binary, "answer", |process| process.answers() >= number).await?;
        let name = self.name(binary)?;
        if let Some(error) = process.events.iter().find_map(|event| event.error.as_deref()) {
            return Err(self.did_not(name, "answer", error));
        }
        let mut over = self.over.clone();
        let is_over = over.wait_for(|over| over.get(name).is_some_and(|count| *count >= number));
        match timeout(WAIT_MAX, is_over).await {
            Ok(Ok(_)) => Ok(process),
            Ok(Err(_)) | Err(_) => Err(self.did_not(name, "answer", "the emulator does not know of the answer")),
        }
    }

    /// The process of a function after its end.
    ///
    /// # Errors
    /// As [`World::process`].
    pub async fn ended(&self, binary: &str) -> Result<Process, Failure> {
        self.process(binary, "end", |process| process.has_ended).await
    }

    /// An error with the last that a function said.
    #[must_use]
    pub fn did_not(&self, name: &str, what: &str, why: &str) -> Failure {
        let log = self.aws.lambda.log(name);
        let last: Vec<&str> = log.iter().rev().take(LOG_LINES).rev().map(|line| line.text.as_str()).collect();
        format!("{name} did not {what}: {why}. It said:\n{}", last.join("\n")).into()
    }
}

/// Counts invocations that end, by function, until the emulator is gone.
fn count_ends(mut events: Receiver<LambdaEvent>) -> watch::Receiver<BTreeMap<String, usize>> {
    let (sender, over) = watch::channel(BTreeMap::<String, usize>::new());
    tokio::spawn(async move {
        loop {
            match events.recv().await {
                Ok(LambdaEvent::InvocationEnded { function, .. }) => {
                    sender.send_modify(|over| *over.entry(function).or_default() += 1);
                }
                Ok(
                    LambdaEvent::InvocationStarted { .. }
                    | LambdaEvent::Throttled { .. }
                    | LambdaEvent::EventDropped { .. }
                    | LambdaEvent::DestinationCalled { .. },
                )
                | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    over
}

/// Alias and deployment group.
fn names_of(group: usize) -> (String, String) {
    if group == 0 {
        (ALIAS.to_owned(), GROUP.to_owned())
    } else {
        (format!("{ALIAS}-{group}"), format!("{GROUP}-{group}"))
    }
}
