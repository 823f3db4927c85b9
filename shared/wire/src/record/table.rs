//! The table's definition as data: rehearsals create it, the SAM and CDK templates are compared with it.

use super::attr;
use serde_json::{Value, json};

/// Partition and sort key, both strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPair {
    /// Partition key.
    pub partition: &'static str,
    /// Sort key.
    pub sort: &'static str,
}

/// What an index holds beside the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Nothing.
    KeysOnly,
    /// These attributes.
    Include(&'static [&'static str]),
}

/// One global secondary index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    /// Name.
    pub name: &'static str,
    /// Keys.
    pub key: KeyPair,
    /// What it holds.
    pub projection: Projection,
}

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableLayout {
    /// Keys.
    pub key: KeyPair,
    /// Global secondary indexes.
    pub indexes: &'static [Index],
    /// Attribute with the time to live.
    pub ttl_attribute: &'static str,
}

impl TableLayout {
    /// Name of the index of a group's deployments, by time.
    pub const BY_GROUP: &'static str = "by_group";
    /// Name of the index of a day's deployments, by time.
    pub const BY_DAY: &'static str = "by_day";
    /// Name of the index of the deployments that are not archived.
    pub const LIVE: &'static str = "live";
}

/// What lists show of a deployment; [`super::parse_summary`] reads it. Attributes that change with every write are not
/// among them, so that an index is written only when a list would change.
const SUMMARY: Projection = Projection::Include(&[
    attr::V,
    attr::APPLICATION,
    attr::DEPLOYMENT_GROUP,
    attr::SERVICE,
    attr::PHASE,
    attr::EXPOSURE,
    attr::OUTCOME,
    attr::CAUSE,
    attr::TRIGGER,
    attr::CREATED_MS,
    attr::CLOSED_MS,
    attr::TARGET,
    attr::IS_RETURN,
    attr::EXPIRES_AT,
]);

/// The one table.
pub const TABLE: TableLayout = TableLayout {
    key: KeyPair { partition: attr::PK, sort: attr::SK },
    indexes: &[
        Index {
            name: TableLayout::BY_GROUP,
            key: KeyPair { partition: attr::GROUP_PK, sort: attr::GROUP_SK },
            projection: SUMMARY,
        },
        Index {
            name: TableLayout::BY_DAY,
            key: KeyPair { partition: attr::DAY_PK, sort: attr::DAY_SK },
            projection: SUMMARY,
        },
        Index {
            name: TableLayout::LIVE,
            key: KeyPair { partition: attr::LIVE_PK, sort: attr::LIVE_SK },
            projection: Projection::KeysOnly,
        },
    ],
    ttl_attribute: attr::EXPIRES_AT,
};

/// Input of DynamoDB's CreateTable for [`TABLE`], paid per request.
#[must_use]
pub fn create_table_request(table_name: &str) -> Value {
    let keys = TABLE.indexes.iter().map(|index| index.key);
    let attributes: Vec<Value> = std::iter::once(TABLE.key)
        .chain(keys)
        .flat_map(|key| [key.partition, key.sort])
        .map(|name| json!({ "AttributeName": name, "AttributeType": "S" }))
        .collect();
    let indexes: Vec<Value> = TABLE.indexes.iter().map(index_request).collect();
    json!({
        "TableName": table_name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes,
        "KeySchema": key_schema(TABLE.key),
        "GlobalSecondaryIndexes": indexes,
    })
}

fn index_request(index: &Index) -> Value {
    let projection = match index.projection {
        Projection::KeysOnly => json!({ "ProjectionType": "KEYS_ONLY" }),
        Projection::Include(names) => {
            json!({ "ProjectionType": "INCLUDE", "NonKeyAttributes": names })
        }
    };
    json!({ "IndexName": index.name, "KeySchema": key_schema(index.key), "Projection": projection })
}

fn key_schema(key: KeyPair) -> Value {
    json!([
        { "AttributeName": key.partition, "KeyType": "HASH" },
        { "AttributeName": key.sort, "KeyType": "RANGE" },
    ])
}
