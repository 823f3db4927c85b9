//! What is in Snapback's table, read beside the API.

use dynoxide::Database;
use serde_json::{Map, Value, json};
use snapback_wire::record::attr;

use crate::install::TABLE;

/// Items of one partition, oldest sort key first, with DynamoDB's type words taken off; empty when the table cannot be read.
#[must_use]
pub(crate) fn partition(database: &Database, pk: &str) -> Vec<Map<String, Value>> {
    let request = json!({
        "TableName": TABLE,
        "ConsistentRead": true,
        "KeyConditionExpression": format!("{} = :pk", attr::PK),
        "ExpressionAttributeValues": {":pk": {"S": pk}}
    });
    let answer = serde_json::from_value(request)
        .ok()
        .and_then(|request| database.query(request).ok())
        .and_then(|answer| serde_json::to_value(answer).ok());
    let items = answer.as_ref().and_then(|answer| answer.get("Items")).and_then(Value::as_array);
    items.map(|items| items.iter().filter_map(plain_item).collect()).unwrap_or_default()
}

/// Everything about one deployment.
#[must_use]
pub(crate) fn deployment(database: &Database, id: &str) -> Vec<Map<String, Value>> {
    partition(database, &format!("DEPLOYMENT#{id}"))
}

/// The item with this sort key.
#[must_use]
pub(crate) fn item<'a>(items: &'a [Map<String, Value>], sk: &str) -> Option<&'a Map<String, Value>> {
    items.iter().find(|item| item.get(attr::SK).and_then(Value::as_str) == Some(sk))
}

fn plain_item(item: &Value) -> Option<Map<String, Value>> {
    Some(item.as_object()?.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
}

/// `{"S": "x"}` becomes `"x"`, and so on.
fn plain(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Value::Null;
    };
    match (kind.as_str(), inner) {
        ("N", Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        ("M", Value::Object(members)) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        ("L", Value::Array(list)) => Value::Array(list.iter().map(plain).collect()),
        ("NULL", _) => Value::Null,
        (_, inner) => inner.clone(),
    }
}
