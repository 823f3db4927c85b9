//! `snapback emulator`: keeps the embedded AWS running.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use snapback_emulator::workload::{Workload, WorkloadConfig};
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_rehearsal::wiring::Wiring;
use snapback_rehearsal::{self as rehearsal, ALIAS, GROUP, SERVICE, Service};
use tokio::signal::unix::{SignalKind, signal};

use crate::output::{Failure, block_on, exit};

/// What runs on the emulator: the demo service with a good and a bad version.
/// The shift is that of `policy init`: an alarm whose period began before the shift counts two periods later, and still in the canary.
const SERVICE_KEYS: &str =
    "shift: CodeDeployDefault.LambdaCanary10Percent10Minutes\nversions: { good: {}, bad: { errors: 0.6 } }";

/// Arguments of `snapback emulator`.
#[derive(Debug, Args)]
pub(crate) struct Keep {
    /// Port on 127.0.0.1; default: a free one
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// How many seconds an AWS minute lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = crate::rehearse::minute)]
    minute: f64,
    /// Folder of the function binaries; default: where `snapback` itself is
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// Keep the tables in this SQLite file
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Only the embedded AWS: no installation of Snapback, no demo service, no traffic
    #[arg(long)]
    bare: bool,
}

impl Keep {
    pub(crate) fn run(self) -> ExitCode {
        exit(block_on(self.keep()))
    }

    async fn keep(self) -> Result<(), Failure> {
        let folder = match &self.functions {
            Some(folder) => folder.clone(),
            None => crate::rehearse::own_folder()?,
        };
        let wiring = Wiring::built_in().map_err(Failure::unable)?;
        if !self.bare {
            rehearsal::check_binaries(&wiring, &folder)
                .map_err(|error| Failure::unable(format!("{error}; or --bare for the embedded AWS alone")))?;
        }
        // Both are listened for before anything starts, so that no process is left behind.
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::unable)?;
        let config = EmulatorConfig {
            minute: Duration::from_secs_f64(self.minute),
            port: self.port,
            store: self.store.clone(),
            functions: Some(folder.clone()),
        };
        let aws = Emulator::start(config).await.map_err(Failure::unable)?;
        let workload = if self.bare { None } else { Some(furnish(&aws, &wiring, &folder).await?) };
        greet(&aws, (!self.bare).then_some(&wiring))?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        eprintln!("ending the emulator ...");
        if let Some(workload) = workload {
            workload.stop().await;
        }
        aws.shutdown().await;
        Ok(())
    }
}

/// Installs Snapback and the demo service, and starts its customers.
async fn furnish(aws: &Emulator, wiring: &Wiring, folder: &Path) -> Result<Workload, Failure> {
    let service = Service::parse(SERVICE_KEYS).map_err(Failure::unable)?;
    let topic = rehearsal::snapback(aws, wiring, folder, Duration::from_secs(10)).await.map_err(Failure::unable)?;
    let policy = rehearsal::policy(&service, &topic);
    rehearsal::service(aws, wiring, folder, &service, &policy).await.map_err(Failure::unable)?;
    Ok(Workload::start(
        aws.lambda.clone(),
        WorkloadConfig {
            function: SERVICE.to_owned(),
            alias: ALIAS.to_owned(),
            requests_per_second: 40.0,
            payload: json!({"path": "/checkout"}),
            slow_above: Duration::from_millis(600),
        },
    ))
}

/// Says where the emulator is: one line of JSON for scripts on standard output, the rest for people on standard error.
fn greet(aws: &Emulator, installed: Option<&Wiring>) -> Result<(), Failure> {
    let endpoint = aws.endpoint();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({"endpoint": endpoint})).and_then(|()| out.flush()).map_err(Failure::unable)?;
    eprintln!("The embedded AWS is at {endpoint} until Ctrl-C. For the AWS CLI or any SDK:\n");
    eprintln!(
        "  export AWS_ENDPOINT_URL={endpoint} AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 \\\n         \
         AWS_ACCESS_KEY_ID=operator AWS_SECRET_ACCESS_KEY=none\n"
    );
    let Some(wiring) = installed else { return Ok(()) };
    let name = |binary: &str| wiring.function(binary).map(|function| function.name.clone());
    let spec = json!({
        "version": 0.0,
        "Resources": [{SERVICE: {"Type": "AWS::Lambda::Function", "Properties":
            {"Name": SERVICE, "Alias": ALIAS, "CurrentVersion": "1", "TargetVersion": "2"}}}],
        "Hooks": [
            {"BeforeAllowTraffic": name("before-allow-traffic")},
            {"AfterAllowTraffic": name("after-allow-traffic")}
        ]
    });
    let revision = json!({"revisionType": "AppSpecContent", "appSpecContent": {"content": spec.to_string()}});
    eprintln!(
        "Snapback is installed (table `snapback`) and protects the demo service `{SERVICE}`, which serves 40 requests a"
    );
    eprintln!(
        "second through alias `{ALIAS}`. Version 1 serves, version 2 is bad, version 3 is good. Deploy the bad one:\n"
    );
    eprintln!(
        "  aws deploy create-deployment --application-name {SERVICE} --deployment-group-name {GROUP} --revision '{revision}'"
    );
    eprintln!("  aws deploy list-deployments");
    eprintln!("  aws cloudwatch describe-alarms --query 'MetricAlarms[].[AlarmName,StateValue]' --output text");
    eprintln!("  snapback history\n  snapback explain ID");
    Ok(())
}
