//! Where the record is: the table of an account, or the file that a rehearsal kept.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use snapback_aws::Aws;
use snapback_aws::config::{Environment, Settings, function_config, operator_config};
use snapback_stage::embedded::EmbeddedAws;
use snapback_stage::rehearsal::TABLE;
use snapback_stage::stage::StageConfig;

use crate::output::Failure;

/// Which record is read.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Read this SQLite file, kept by `snapback rehearse --store` or `snapback stage --store`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["table", "region"])]
    store: Option<PathBuf>,
    #[command(flatten)]
    account: Account,
}

/// Which account, Region and table. Credentials come from where the AWS CLI has them (AWS_PROFILE, SSO, …);
/// AWS_ENDPOINT_URL is honoured.
#[derive(Debug, Args)]
pub(crate) struct Account {
    /// Name of Snapback's table
    #[arg(long, value_name = "NAME", env = "SNAPBACK_TABLE", default_value = TABLE)]
    table: String,
    /// AWS Region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// A record that can be read; for a file the embedded AWS lives as long as this.
pub(crate) struct Opened {
    pub(crate) aws: Aws,
    stage: Option<EmbeddedAws>,
}

impl Opened {
    /// Ends what was started to read a file.
    pub(crate) async fn close(self) {
        if let Some(stage) = self.stage {
            stage.shutdown().await;
        }
    }
}

impl Account {
    /// The account's services.
    pub(crate) async fn open(&self) -> Result<Aws, Failure> {
        let config = operator_config(self.region.clone(), None).await.map_err(Failure::unable)?;
        if config.region().is_none() {
            return Err(Failure::input("no AWS Region: give --region, or set AWS_REGION or a profile"));
        }
        let mut settings = Settings::for_table(&self.table);
        settings.topic_arn = std::env::var("SNAPBACK_TOPIC_ARN").ok();
        Ok(Aws::from_sdk_config(&config, settings))
    }
}

impl Source {
    /// Opens the record. A file is served on loopback and read like the table of an account: there is one reader.
    pub(crate) async fn open(&self) -> Result<Opened, Failure> {
        let Some(store) = &self.store else {
            return Ok(Opened { aws: self.account.open().await?, stage: None });
        };
        let shown = store.display();
        // Opening would make it.
        let bytes = std::fs::read(store).map_err(|error| Failure::unable(format!("cannot read {shown}: {error}")))?;
        if !bytes.starts_with(b"SQLite format 3\0") {
            return Err(Failure::unable(format!("{shown} is no record of a rehearsal: it is not a SQLite file")));
        }
        let config = StageConfig { minute: Duration::from_secs(60), port: None, store: Some(store.clone()) };
        let stage = EmbeddedAws::start(config, PathBuf::new()).await;
        let stage = stage.map_err(|error| Failure::unable(format!("cannot open {shown}: {error}")))?;
        let config = function_config(&Loopback(stage.stage.endpoint())).map_err(Failure::unable)?;
        let aws = Aws::from_sdk_config(&config, Settings::for_table(TABLE));
        Ok(Opened { aws, stage: Some(stage) })
    }
}

/// The environment of a caller on the embedded AWS.
struct Loopback(String);

impl Environment for Loopback {
    fn get(&self, name: &str) -> Option<String> {
        match name {
            "AWS_ENDPOINT_URL" => Some(self.0.clone()),
            "AWS_REGION" => Some("us-east-1".to_owned()),
            "AWS_ACCESS_KEY_ID" => Some("operator".to_owned()),
            "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" => Some("none".to_owned()),
            _ => None,
        }
    }
}
