//! Metrics in the embedded metric format: one JSON line on standard output per document.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Namespace of all metrics of the demo application.
const NAMESPACE: &str = "Checkout";

/// Prints `Requests` 1 and `Handled5xx` 0 or 1 of one checkout, by `Version` and by `Service` and `Version`.
pub(crate) fn print_request(version: &str, handled_5xx: bool) {
    let metrics = [("Requests", 1), ("Handled5xx", u8::from(handled_5xx))];
    println!("{}", document(version, &json!([["Version"], ["Service", "Version"]]), metrics));
}

/// Prints `TransactionsAttempted` 1 and `TransactionsFailed` 0 or 1 of one checkout that got as far as the payment, by
/// `Service` and by `Service` and `Version`.
pub(crate) fn print_transaction(version: &str, failed: bool) {
    let metrics = [("TransactionsAttempted", 1), ("TransactionsFailed", u8::from(failed))];
    println!("{}", document(version, &json!([["Service"], ["Service", "Version"]]), metrics));
}

fn document(version: &str, dimensions: &Value, metrics: [(&str, u8); 2]) -> Value {
    let definitions = metrics.map(|(name, _)| json!({ "Name": name, "Unit": "Count", "StorageResolution": 1 }));
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions });
    let mut document = json!({
        "_aws": { "Timestamp": now_ms(), "CloudWatchMetrics": [directive] },
        "Service": "checkout",
        "Version": version,
    });
    if let Some(members) = document.as_object_mut() {
        members.extend(metrics.map(|(name, value)| (name.to_owned(), json!(value))));
    }
    document
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_carries_definitions_dimensions_and_values() {
        let metrics = [("TransactionsAttempted", 1), ("TransactionsFailed", 0)];
        let mut document = document("3", &json!([["Service"], ["Service", "Version"]]), metrics);
        assert!(document["_aws"]["Timestamp"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000));
        document["_aws"]["Timestamp"] = json!(0);
        let expected = json!({
            "_aws": { "Timestamp": 0, "CloudWatchMetrics": [{
                "Namespace": "Checkout",
                "Dimensions": [["Service"], ["Service", "Version"]],
                "Metrics": [
                    { "Name": "TransactionsAttempted", "Unit": "Count", "StorageResolution": 1 },
                    { "Name": "TransactionsFailed", "Unit": "Count", "StorageResolution": 1 },
                ],
            }] },
            "Service": "checkout",
            "Version": "3",
            "TransactionsAttempted": 1,
            "TransactionsFailed": 0,
        });
        assert_eq!(document, expected);
    }
}
