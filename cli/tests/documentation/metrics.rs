use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Prints one line with these counts.
pub(crate) fn print_metrics(event: &Value, counts: &[(&str, u64)]) {
    if let Some(line) = metrics_line(event, counts) {
        println!("{line}");
    }
}

/// The line for these counts of one request.
pub(crate) fn metrics_line(event: &Value, counts: &[(&str, u64)]) -> Option<String> {
    if event["snapback"]["probe"] == true {
        return None; // Snapback's own request is not a customer's
    }
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
    Some(line.to_string())
}
