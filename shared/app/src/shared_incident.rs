//! Reads the latest numbers of both versions: is only the new one degraded, or is it a shared incident? The judge names the series
//! and says what they mean.

use crate::ports::{CallError, Clock, Metrics, TargetQueries};
use snapback_core::Signal;
use snapback_core::analysis_spec::incident_spec;
use snapback_core::metrics::MetricTarget;
use snapback_core::record::Record;
use snapback_judge::degradation::Degradation;
use snapback_judge::shared_incident::IncidentQuery;

/// Which versions are degraded now by `signal`; nothing is said where the numbers cannot be read or do not tell versions apart.
pub(crate) async fn read_degradation<P: Metrics + Clock>(ports: &P, record: &Record, signal: Signal) -> Degradation {
    match read(ports, record, signal).await {
        Ok(degradation) => degradation,
        Err(error) => {
            tracing::warn!(%error, "the numbers of both versions could not be read; the finding decides");
            Degradation::default()
        }
    }
}

async fn read<P: Metrics + Clock>(ports: &P, record: &Record, signal: Signal) -> Result<Degradation, CallError> {
    let target = MetricTarget::of(record);
    let spec = incident_spec(record, signal, |source| ports.profile(&target, source));
    let Some(query) = spec.and_then(|spec| IncidentQuery::new(&spec, ports.now())) else {
        return Ok(Degradation::default());
    };
    let asked = [TargetQueries { target: &target, queries: &query.queries }];
    let answers = ports.measure(query.window, &asked).await?;
    Ok(answers.first().map_or_else(Degradation::default, |answers| query.degradation(answers)))
}
