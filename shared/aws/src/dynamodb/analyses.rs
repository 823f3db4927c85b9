//! The analysis of a deployment's numbers, and what was judged in each poll.

use super::calls::{Action, Condition};
use super::{absent_or_expired, now, parsed};
use crate::Aws;
use snapback_app::ports::{AnalysisStore, CallError};
use snapback_core::DeploymentId;
use snapback_core::analysis_spec::StoredAnalysis;
use snapback_judge::analysis::{Analysis, JudgedPoll};
use snapback_wire::record::{self as wire, attr};

impl AnalysisStore for Aws {
    async fn analysis(&self, id: &DeploymentId) -> Result<Option<StoredAnalysis>, CallError> {
        let condition = Condition::new("#pk = :pk AND #sk = :sk").name("#sk", attr::SK).text(":sk", wire::DETECTOR);
        let items = self.partition(condition, &wire::deployment_pk(id)).await?;
        items.first().map(|item| parsed(id, wire::parse_analysis(item))).transpose()
    }

    async fn save_analysis(
        &self,
        id: &DeploymentId,
        analysis: &Analysis,
        expected: u64,
        judged: Option<&JudgedPoll>,
    ) -> Result<(), CallError> {
        let version =
            Condition::new("#version = :version").name("#version", attr::VERSION).number(":version", expected);
        let condition = if expected == 0 { absent_or_expired(now()) } else { version };
        let item = wire::analysis_item(id, analysis, expected.saturating_add(1));
        let mut actions = vec![Action::Put(item, Some(condition))];
        actions.extend(judged.map(|poll| Action::Put(wire::judged_poll_item(id, poll), None)));
        self.transact(id.as_str(), &actions).await
    }

    async fn judged_polls(&self, id: &DeploymentId) -> Result<Vec<JudgedPoll>, CallError> {
        let condition = Condition::new("#pk = :pk AND begins_with(#sk, :sk)");
        let condition = condition.name("#sk", attr::SK).text(":sk", wire::SERIES_PREFIX);
        let items = self.partition(condition, &wire::deployment_pk(id)).await?;
        let polls = items.iter().map(|item| parsed(id, wire::parse_judged_poll(item)));
        // Those that another version of Snapback packed are left out.
        polls.filter_map(Result::transpose).collect()
    }
}
