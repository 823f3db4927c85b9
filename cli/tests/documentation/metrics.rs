use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// One line with these counts, for standard output.
pub(crate) fn metrics_line(counts: &[(&str, u64)]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let names: Vec<Value> = counts.iter().map(|(name, _)| json!({ "Name": name, "Unit": "Count" })).collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": u64::try_from(now.as_millis()).unwrap_or_default(),
            "CloudWatchMetrics": [{
                "Namespace": "Shop", "Dimensions": [["Service"], ["Service", "Version"]], "Metrics": names,
            }],
        },
        "Service": "checkout",
        "Version": std::env::var("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_default(),
    });
    for (name, value) in counts {
        line[*name] = json!(value);
    }
    line.to_string()
}
