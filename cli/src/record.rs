//! Where the record is: the table of an account, or the file that a rehearsal kept.

mod table_file;

use std::path::{Path, PathBuf};

use clap::Args;
use snapback_aws::config::{Settings, function_config, operator_config};
use snapback_aws::{Aws, Environment, ProcessEnvironment};

use crate::output::Failure;
use table_file::TableFile;

/// Name of the table unless somebody says otherwise; always that of a rehearsal.
const TABLE: &str = "snapback";

/// How the definition of the embedded DynamoDB's list of tables begins in its file.
const ENGINE: &[u8] = b"CREATE TABLE _tables";

/// Which record is read.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Use this SQLite file, kept by `snapback rehearse --store` or `snapback emulator --store`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["table", "profile", "region"])]
    store: Option<PathBuf>,
    #[command(flatten)]
    account: Account,
}

/// Which account, Region and table. Credentials come from where the AWS CLI has them (AWS_PROFILE, SSO, …);
/// AWS_ENDPOINT_URL is honoured.
#[derive(Debug, Args)]
pub(crate) struct Account {
    /// Name of Snapback's table [env: SNAPBACK_TABLE] [default: snapback]
    // Not clap's `env`: a variable that is set must not stand in the way of --store.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Profile of the AWS configuration [env: AWS_PROFILE]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// AWS Region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

impl Source {
    /// Whether `path` is the file of the record.
    pub(crate) fn is_store(&self, path: &Path) -> bool {
        let store = self.store.as_ref().and_then(|store| store.canonicalize().ok());
        store.is_some() && store == path.canonicalize().ok()
    }
}

/// A record that can be read; a file is served as long as this lives.
pub(crate) struct Opened {
    pub(crate) aws: Aws,
    _file: Option<TableFile>,
}

impl Account {
    fn table(&self) -> String {
        let named = self.table.clone().or_else(|| ProcessEnvironment.get("SNAPBACK_TABLE"));
        named.unwrap_or_else(|| TABLE.to_owned())
    }

    /// The account's services.
    pub(crate) async fn open(&self) -> Result<Aws, Failure> {
        let config = operator_config(self.profile.clone(), self.region.clone()).await.map_err(Failure::unable)?;
        if config.region().is_none() {
            return Err(Failure::input("no AWS Region: give --region, or set AWS_REGION or a profile"));
        }
        let mut settings = Settings::for_table(self.table());
        settings.topic_arn = std::env::var("SNAPBACK_TOPIC_ARN").ok();
        Ok(Aws::from_sdk_config(&config, settings))
    }
}

impl Source {
    /// Opens the record. A file is served on loopback and read like the table of an account: there is one reader.
    pub(crate) async fn open(&self) -> Result<Opened, Failure> {
        let Some(store) = &self.store else {
            return Ok(Opened { aws: self.account.open().await?, _file: None });
        };
        let shown = store.display();
        // Opening would make it.
        let bytes = std::fs::read(store).map_err(|error| Failure::unable(format!("cannot read {shown}: {error}")))?;
        if !bytes.starts_with(b"SQLite format 3\0") {
            return Err(Failure::unable(format!("{shown} is no record of a rehearsal: it is not a SQLite file")));
        }
        // The engine would add its tables to the file of another program. What is written last is in the log beside it.
        let mut log = store.clone().into_os_string();
        log.push("-wal");
        let log = std::fs::read(log).unwrap_or_default();
        if ![bytes, log].iter().any(|bytes| bytes.windows(ENGINE.len()).any(|part| part == ENGINE)) {
            return Err(Failure::unable(format!("{shown} is no record of a rehearsal: it has no DynamoDB tables")));
        }
        let file = TableFile::serve(store).await?;
        let config = function_config(&Loopback(file.endpoint())).map_err(Failure::unable)?;
        let aws = Aws::from_sdk_config(&config, Settings::for_table(TABLE));
        Ok(Opened { aws, _file: Some(file) })
    }
}

/// The environment of a caller of a file that is served.
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
