//! DynamoDB: an embedded emulator behind the JSON 1.0 calls that Snapback and its users need.

use std::path::Path;

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::iam::Ask;
use crate::json::{text, uuid};
use crate::parts::{ACCOUNT, REGION};
use crate::protocol::{ApiFault, ApiRequest, ApiResponse, BoxFuture, RawResponse, Service};

/// The tables of one emulator.
pub struct DynamoDb {
    database: Database,
}

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
#[error("could not open the table file {path}")]
pub struct OpenError {
    path: String,
    #[source]
    cause: Box<DynoxideError>,
}

impl DynamoDb {
    /// Tables in the SQLite file `store`, made when missing, or in memory.
    ///
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub fn open(store: Option<&Path>) -> Result<Self, OpenError> {
        let path = store.map_or_else(|| ":memory:".to_owned(), |path| path.to_string_lossy().into_owned());
        let database = match store {
            Some(_) => Database::new(&path),
            None => Database::memory(),
        };
        let database = database.map_err(|cause| OpenError { path, cause: Box::new(cause) })?;
        Ok(Self { database })
    }

    /// The emulator itself, for reading tables beside the API. Its calls block.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database.clone()
    }
}

impl Service for DynamoDb {
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
        let database = self.database.clone();
        Box::pin(async move {
            let ApiRequest { operation, input, .. } = request;
            // SQLite blocks, so it runs beside the async threads.
            let carried_out = tokio::task::spawn_blocking(move || dispatch(&database, &operation, input)).await;
            carried_out.unwrap_or_else(|error| {
                let message = format!("the table engine ended: {error}");
                ApiResponse::Fault(ApiFault::new("InternalServerError", message).with_status(500))
            })
        })
    }

    fn asks(&self, request: &ApiRequest) -> Vec<Ask> {
        let input = &request.input;
        let ask =
            |action: &str, input: &Value| Ask::new(&request.principal, format!("dynamodb:{action}"), resource(input));
        let items = |list: &str| input.get(list).and_then(Value::as_array).into_iter().flatten();
        match request.operation.as_str() {
            // IAM knows no transactions, only what they consist of.
            "TransactWriteItems" | "TransactGetItems" => items("TransactItems")
                .flat_map(|item| item.as_object().into_iter().flatten())
                .map(|(kind, input)| match kind.as_str() {
                    "ConditionCheck" => ask("ConditionCheckItem", input),
                    kind => ask(&format!("{kind}Item"), input),
                })
                .collect(),
            operation => vec![ask(operation, input)],
        }
    }
}

/// ARN of the table that a request names, or of its index.
fn resource(input: &Value) -> String {
    let table = text(input, "TableName").unwrap_or("*");
    let index = text(input, "IndexName").map(|index| format!("/index/{index}")).unwrap_or_default();
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}{index}")
}

fn dispatch(database: &Database, operation: &str, input: Value) -> ApiResponse {
    let db = database;
    match operation {
        "CreateTable" => run(input, |request| db.create_table(request)),
        "DeleteTable" => run(input, |request| db.delete_table(request)),
        "DescribeTable" => run(input, |request| db.describe_table(request)),
        "ListTables" => run(input, |request| db.list_tables(request)),
        "UpdateTimeToLive" => run(input, |request| db.update_time_to_live(request)),
        "DescribeTimeToLive" => run(input, |request| db.describe_time_to_live(request)),
        "PutItem" => run(input, |request| db.put_item(request)),
        "GetItem" => run(input, |request| db.get_item(request)),
        "UpdateItem" => run(input, |request| db.update_item(request)),
        "DeleteItem" => run(input, |request| db.delete_item(request)),
        "Query" => run(input, |request| db.query(request)),
        "Scan" => run(input, |request| db.scan(request)),
        "BatchGetItem" => run(input, |request| db.batch_get_item(request)),
        "BatchWriteItem" => run(input, |request| db.batch_write_item(request)),
        "TransactWriteItems" => run(input, |request| db.transact_write_items(request)),
        "TransactGetItems" => run(input, |request| db.transact_get_items(request)),
        _ => ApiResponse::Fault(ApiFault::unsupported("dynamodb", operation)),
    }
}

fn run<I: DeserializeOwned, O: Serialize>(
    input: Value,
    operation: impl FnOnce(I) -> Result<O, DynoxideError>,
) -> ApiResponse {
    let request = match serde_json::from_value(input) {
        Ok(request) => request,
        Err(error) => return ApiResponse::Fault(unreadable(&error.to_string())),
    };
    match operation(request) {
        // Written straight to text: number sets and the like keep the form that the engine gives them.
        Ok(output) => match serde_json::to_string(&output) {
            Ok(text) => raw(200, text, None),
            Err(error) => ApiResponse::Fault(ApiFault::new("InternalServerError", error.to_string()).with_status(500)),
        },
        Err(error) => raw(error.status_code(), error.to_json(), Some(short(error.error_type()))),
    }
}

/// The engine hides validation errors of a request's members behind a prefix of serde's message.
fn unreadable(message: &str) -> ApiFault {
    match message.split_once("VALIDATION:") {
        Some((_, words)) => ApiFault::new("com.amazon.coral.validate#ValidationException", words),
        None => ApiFault::new("com.amazon.coral.service#SerializationException", message),
    }
}

/// `ResourceNotFoundException` of `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException`.
fn short(kind: &str) -> String {
    kind.rsplit('#').next().unwrap_or(kind).to_owned()
}

fn raw(status: u16, body: String, error: Option<String>) -> ApiResponse {
    let headers = vec![
        ("content-type".to_owned(), "application/x-amz-json-1.0".to_owned()),
        ("x-amzn-requestid".to_owned(), uuid()),
    ];
    ApiResponse::Raw(RawResponse { status, headers, body: body.into(), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(db: &DynamoDb, operation: &str, input: Value) -> (u16, Value) {
        match dispatch(&db.database, operation, input) {
            ApiResponse::Raw(raw) => (raw.status, serde_json::from_slice(&raw.body).unwrap()),
            ApiResponse::Fault(fault) => (fault.status, json!({"__type": fault.code, "message": fault.message})),
            ApiResponse::Output(value) => (200, value),
        }
    }

    fn with_table(db: &DynamoDb) {
        let table = json!({
            "TableName": "snapback", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        });
        let (status, body) = call(db, "CreateTable", table);
        assert_eq!(status, 200, "{body}");
    }

    fn item(version: u32) -> Value {
        json!({"pk": {"S": "DEPLOYMENT#d-1"}, "sk": {"S": "STATE"}, "version": {"N": version.to_string()}})
    }

    #[test]
    fn conditions_and_transactions_answer_as_dynamodb_does() {
        let db = DynamoDb::open(None).unwrap();
        with_table(&db);
        let put = |version| json!({"TableName": "snapback", "Item": item(version), "ConditionExpression": "attribute_not_exists(pk)"});
        assert_eq!(call(&db, "PutItem", put(1)).0, 200);
        let (status, body) = call(&db, "PutItem", put(2));
        assert_eq!(status, 400);
        assert_eq!(body["__type"], "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException");

        let transaction = json!({"TransactItems": [{"Put": put(3)}]});
        let (status, body) = call(&db, "TransactWriteItems", transaction);
        assert_eq!(status, 400);
        assert_eq!(body["CancellationReasons"][0]["Code"], "ConditionalCheckFailed", "{body}");

        let key = json!({"pk": {"S": "DEPLOYMENT#d-1"}, "sk": {"S": "STATE"}});
        let (_, body) = call(&db, "GetItem", json!({"TableName": "snapback", "Key": key, "ConsistentRead": true}));
        assert_eq!(body, json!({"Item": item(1)}));
    }

    #[test]
    fn a_transaction_asks_for_what_it_consists_of() {
        let db = DynamoDb::open(None).unwrap();
        let table = "arn:aws:dynamodb:us-east-1:123456789012:table/snapback";
        let named = json!({"TableName": "snapback"});
        // (operation, input, actions and resources)
        let rows = [
            ("GetItem", named.clone(), vec![("dynamodb:GetItem", table.to_owned())]),
            (
                "Query",
                json!({"TableName": "snapback", "IndexName": "live"}),
                vec![("dynamodb:Query", format!("{table}/index/live"))],
            ),
            (
                "TransactWriteItems",
                json!({"TransactItems": [{"Put": named}, {"Update": named}, {"Delete": named}, {"ConditionCheck": named}]}),
                vec![
                    ("dynamodb:PutItem", table.to_owned()),
                    ("dynamodb:UpdateItem", table.to_owned()),
                    ("dynamodb:DeleteItem", table.to_owned()),
                    ("dynamodb:ConditionCheckItem", table.to_owned()),
                ],
            ),
        ];
        for (operation, input, expected) in rows {
            let asks = db.asks(&crate::protocol::ApiRequest::new("watcher", "dynamodb", operation, input));
            let expected: Vec<Ask> =
                expected.into_iter().map(|(action, resource)| Ask::new("watcher", action, resource)).collect();
            assert_eq!(asks, expected, "{operation}");
        }
    }

    #[test]
    fn bad_input_and_unknown_operations_are_errors() {
        let db = DynamoDb::open(None).unwrap();
        let table = [
            ("unknown operation", "DescribeBackup", json!({}), "UnknownOperationException"),
            (
                "no table",
                "GetItem",
                json!({"TableName": "nope", "Key": {"pk": {"S": "x"}}}),
                "ResourceNotFoundException",
            ),
            ("wrong type", "GetItem", json!({"TableName": 7}), "SerializationException"),
        ];
        for (case, operation, input, code) in table {
            let (status, body) = call(&db, operation, input);
            assert_eq!(status, 400, "{case}");
            assert!(body["__type"].as_str().unwrap().ends_with(code), "{case}: {body}");
        }
    }

    #[test]
    fn a_store_keeps_its_tables() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.sqlite");
        {
            let db = DynamoDb::open(Some(&path)).unwrap();
            with_table(&db);
            assert_eq!(call(&db, "PutItem", json!({"TableName": "snapback", "Item": item(1)})).0, 200);
        }
        let again = DynamoDb::open(Some(&path)).unwrap();
        let (_, body) = call(&again, "Scan", json!({"TableName": "snapback"}));
        assert_eq!(body["Count"], 1);
        assert!(DynamoDb::open(Some(folder.path())).is_err(), "a folder is no database");
    }
}
