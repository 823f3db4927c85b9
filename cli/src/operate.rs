//! `snapback promote` and `snapback rollback`: verbs of a person, on the same path as the automatic ones.

use std::process::ExitCode;

use clap::Args;
use snapback_app::error::AppError;
use snapback_app::operate::operate;
use snapback_core::DeploymentId;
use snapback_core::deployment::Verb;
use snapback_core::lifecycle::Phase;

use crate::arguments::{parse_id, reason};
use crate::output::{Failure, block_on, exit, print_text};
use crate::pause;
use crate::record::Account;

/// Arguments of `snapback promote` and `snapback rollback`.
#[derive(Debug, Args)]
pub(crate) struct Operate {
    /// Deployment id
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: DeploymentId,
    /// Why; it goes on the record
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    why: String,
    /// Who; it goes on the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "somebody", value_parser = reason)]
    who: String,
    #[command(flatten)]
    account: Account,
}

impl Operate {
    pub(crate) fn run(self, verb: Verb) -> ExitCode {
        exit(block_on(self.carry_out(verb)))
    }

    async fn carry_out(self, verb: Verb) -> Result<(), Failure> {
        let aws = self.account.open().await?;
        let record = operate(&aws, &self.id, verb, &self.who, &self.why).await.map_err(|error| match error {
            AppError::NotNow { .. } => Failure::bad(error),
            AppError::Call(_)
            | AppError::Contended { .. }
            | AppError::Unknown { .. }
            | AppError::Unsupported { .. }
            | AppError::NotAnswered { .. } => Failure::unable(error),
        })?;
        if let Ok(pauses) = pause::read(&aws).await {
            pause::warn(&pauses, &record.deployment.identity.group);
        }
        let said = match &record.deployment.phase {
            Phase::GoingBack { .. } => "the rollback is on its way",
            Phase::Refused(_) => "it is refused before traffic",
            Phase::InBake(_) => "its bake ends now",
            Phase::BeforeTraffic | Phase::InShift(_) => "it is on record and takes effect with the next look",
            Phase::Closed(_) => "it is over",
        };
        print_text(&format!("Deployment {}: {said}. The timeline: snapback explain {}\n", self.id, self.id))
    }
}
