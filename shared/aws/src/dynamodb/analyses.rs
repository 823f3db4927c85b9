//! The analysis of a deployment's numbers, and its judged buckets.

use super::calls::{Action, Condition};
use super::{absent_or_expired, now, parsed};
use crate::Aws;
use snapback_app::ports::{AnalysisStore, CallError};
use snapback_core::DeploymentId;
use snapback_core::analysis_spec::StoredAnalysis;
use snapback_judge::analysis::{Analysis, SeriesPoint};
use snapback_wire::record::{self as wire, Key, attr};
use std::collections::BTreeMap;

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
        series: &[SeriesPoint],
    ) -> Result<(), CallError> {
        let version =
            Condition::new("#version = :version").name("#version", attr::VERSION).number(":version", expected);
        let condition = if expected == 0 { absent_or_expired(now()) } else { version };
        let item = wire::analysis_item(id, analysis, expected.saturating_add(1));
        let mut lists: BTreeMap<Key, Vec<String>> = BTreeMap::new();
        for point in series {
            let (key, text) = wire::series_entry(id, point);
            lists.entry(key).or_default().push(text);
        }
        let mut actions = vec![Action::Put(item, Some(condition))];
        actions.extend(lists.into_iter().map(|(key, texts)| Action::Append(key, texts)));
        self.transact(id.as_str(), &actions).await
    }

    async fn series(&self, id: &DeploymentId) -> Result<Vec<SeriesPoint>, CallError> {
        let condition = Condition::new("#pk = :pk AND begins_with(#sk, :sk)");
        let condition = condition.name("#sk", attr::SK).text(":sk", wire::SERIES_PREFIX);
        let mut points = Vec::new();
        for item in self.partition(condition, &wire::deployment_pk(id)).await? {
            points.extend(parsed(id, wire::parse_series(&item))?);
        }
        points.sort_by_key(|point| (point.start, point.signal, point.side, point.is_growth));
        Ok(points)
    }
}
