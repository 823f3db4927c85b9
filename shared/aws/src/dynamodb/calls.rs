//! The few shapes of DynamoDB calls that the table needs: bounded queries, one put, transactions.

use super::value::{from_attributes, to_attributes};
use crate::Aws;
use crate::error::{call_error, kind_of, not_set, not_understood};
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use snapback_app::ports::{CallError, CallErrorKind};
use snapback_wire::record::{Item, Key, attr};
use std::collections::HashMap;
use std::time::Duration;

/// Actions that one transaction may have.
pub(super) const MAX_ACTIONS: usize = 100;
/// Tries of a transaction that met another one. The condition on STATE decides; a mere meeting decides nothing.
const MAX_MEETINGS: u64 = 4;
/// Pause before the second such try; the third waits twice as long, and so on.
const MEETING_PAUSE: Duration = Duration::from_millis(25);

pub(super) const QUERY: &str = "dynamodb:Query";
pub(super) const PUT: &str = "dynamodb:PutItem";
pub(super) const DELETE: &str = "dynamodb:DeleteItem";
pub(super) const TRANSACT: &str = "dynamodb:TransactWriteItems";

/// A condition with the values it names. Attribute names are always written as placeholders: `owner` and others are
/// reserved words.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    expression: &'static str,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Condition {
    pub(super) fn new(expression: &'static str) -> Self {
        Self { expression, ..Self::default() }
    }

    /// `placeholder` starts with `#`.
    pub(super) fn name(mut self, placeholder: &str, attribute: &str) -> Self {
        self.names.insert(placeholder.to_owned(), attribute.to_owned());
        self
    }

    /// `placeholder` starts with `:`.
    pub(super) fn text(mut self, placeholder: &str, value: impl Into<String>) -> Self {
        self.values.insert(placeholder.to_owned(), AttributeValue::S(value.into()));
        self
    }

    /// `placeholder` starts with `:`.
    pub(super) fn number(mut self, placeholder: &str, value: impl ToString) -> Self {
        self.values.insert(placeholder.to_owned(), AttributeValue::N(value.to_string()));
        self
    }

    fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }
}

/// One action of a transaction.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Put(Item, Option<Condition>),
    Delete(Key),
    /// Sets `expires_at` (epoch seconds) of an item that is there.
    Expire(Key, i64),
}

/// What became of a put with a condition.
#[derive(Debug)]
pub(super) enum PutOutcome {
    Stored,
    /// The condition was not met; the item that is there, as far as DynamoDB shows it.
    Refused(Option<Item>),
}

impl Aws {
    pub(super) fn table(&self, call: &'static str) -> Result<&str, CallError> {
        let table = self.settings.table.as_deref();
        table.ok_or_else(|| not_set(call, "SNAPBACK_TABLE"))
    }

    /// A query of the table (`index`: of an index), consistent where DynamoDB can be.
    pub(super) fn query(&self, index: Option<&str>, condition: Condition) -> Result<QueryFluentBuilder, CallError> {
        let request = self.dynamodb.query().table_name(self.table(QUERY)?);
        Ok(request
            .set_index_name(index.map(str::to_owned))
            .consistent_read(index.is_none())
            .key_condition_expression(condition.expression)
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values()))
    }

    /// All items of a query, at most `max_items` of them and `max_pages` pages; more pages are an error.
    pub(super) async fn items(
        &self,
        request: QueryFluentBuilder,
        on: &str,
        max_pages: usize,
        max_items: usize,
    ) -> Result<Vec<Item>, CallError> {
        let mut items = Vec::new();
        let mut start = None;
        for _ in 0..max_pages {
            let answer = request.clone().set_exclusive_start_key(start).send().await;
            let answer = answer.map_err(|error| call_error(QUERY, on, &error))?;
            for item in answer.items() {
                items.push(from_attributes(item).map_err(|what| not_understood(QUERY, on, what))?);
            }
            start = answer.last_evaluated_key;
            if start.as_ref().is_none_or(HashMap::is_empty) || items.len() >= max_items {
                items.truncate(max_items);
                return Ok(items);
            }
        }
        Err(not_understood(QUERY, on, format!("more than {max_pages} pages")))
    }

    pub(super) async fn put(
        &self,
        on: &str,
        item: Item,
        condition: Option<Condition>,
    ) -> Result<PutOutcome, CallError> {
        use aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException;
        use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
        let mut request = self.dynamodb.put_item().table_name(self.table(PUT)?);
        request = request.set_item(Some(to_attributes(item)));
        if let Some(condition) = condition {
            request = request
                .condition_expression(condition.expression)
                .set_expression_attribute_names(condition.names())
                .set_expression_attribute_values(condition.values())
                .return_values_on_condition_check_failure(AllOld);
        }
        let error = match request.send().await {
            Ok(_) => return Ok(PutOutcome::Stored),
            Err(error) => error,
        };
        if let Some(ConditionalCheckFailedException(refused)) = error.as_service_error() {
            let item = refused.item().map(from_attributes).transpose();
            let item = item.map_err(|what| not_understood(PUT, on, what))?;
            return Ok(PutOutcome::Refused(item));
        }
        Err(call_error(PUT, on, &error))
    }

    /// Deletes an item if the condition holds; if not, nothing happens.
    pub(super) async fn delete_if(&self, on: &str, key: &Key, condition: Condition) -> Result<(), CallError> {
        let request = self.dynamodb.delete_item().table_name(self.table(DELETE)?);
        let request = request
            .set_key(Some(key_attributes(key)))
            .condition_expression(condition.expression)
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values());
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = call_error(DELETE, on, &error);
                if error.is(CallErrorKind::Conflict) { Ok(()) } else { Err(error) }
            }
        }
    }

    /// All actions or none. [`CallErrorKind::Conflict`] when a condition is not met.
    pub(super) async fn transact(&self, on: &str, actions: &[Action]) -> Result<(), CallError> {
        let table = self.table(TRANSACT)?;
        let built: Result<Vec<_>, _> = actions.iter().map(|action| build(table, action)).collect();
        let built = built.map_err(|error| not_understood(TRANSACT, on, error))?;
        let mut meetings = 0;
        loop {
            let request = self.dynamodb.transact_write_items();
            let error = match request.set_transact_items(Some(built.clone())).send().await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
            else {
                return Err(call_error(TRANSACT, on, &error));
            };
            let reasons: Vec<_> = cancelled
                .cancellation_reasons()
                .iter()
                .filter_map(|reason| reason.code().filter(|code| *code != "None"))
                .collect();
            let is_meeting = !reasons.is_empty() && reasons.iter().all(|reason| reason.contains("TransactionConflict"));
            meetings += 1;
            if !is_meeting || meetings >= MAX_MEETINGS {
                let message = format!("TransactionCanceledException: {}", reasons.join(", "));
                return Err(CallError::new(cancelled_kind(&reasons), TRANSACT, on, message));
            }
            let pause = MEETING_PAUSE.saturating_mul(u32::try_from(meetings).unwrap_or(u32::MAX));
            tokio::time::sleep(pause).await;
        }
    }

    /// Many actions that need no common fate: as few transactions as possible, in order.
    pub(super) async fn transact_all(&self, on: &str, actions: &[Action]) -> Result<(), CallError> {
        for actions in actions.chunks(MAX_ACTIONS) {
            self.transact(on, actions).await?;
        }
        Ok(())
    }
}

/// Whether a transaction failed because a condition was not met, rather than because it met another transaction.
pub(super) fn is_refused(error: &CallError) -> bool {
    error.is(CallErrorKind::Conflict) && error.message.contains("ConditionalCheckFailed")
}

/// A condition that was not met outweighs a throttle: the answer will not change by asking again.
fn cancelled_kind(reasons: &[&str]) -> CallErrorKind {
    let kinds: Vec<_> = reasons.iter().map(|reason| kind_of(Some(reason), None)).collect();
    let order = [CallErrorKind::Conflict, CallErrorKind::Denied, CallErrorKind::Unreachable];
    let worst = order.into_iter().find(|kind| kinds.contains(kind));
    worst.unwrap_or(CallErrorKind::Invalid)
}

pub(super) fn key_attributes(key: &Key) -> HashMap<String, AttributeValue> {
    HashMap::from([
        (attr::PK.to_owned(), AttributeValue::S(key.pk.clone())),
        (attr::SK.to_owned(), AttributeValue::S(key.sk.clone())),
    ])
}

fn build(table: &str, action: &Action) -> Result<TransactWriteItem, BuildError> {
    let item = TransactWriteItem::builder();
    let item = match action {
        Action::Put(put, condition) => {
            let condition = condition.as_ref();
            let put = Put::builder()
                .table_name(table)
                .set_item(Some(to_attributes(put.clone())))
                .set_condition_expression(condition.map(|c| c.expression.to_owned()))
                .set_expression_attribute_names(condition.and_then(Condition::names))
                .set_expression_attribute_values(condition.and_then(Condition::values));
            item.put(put.build()?)
        }
        Action::Delete(key) => {
            let delete = Delete::builder().table_name(table).set_key(Some(key_attributes(key)));
            item.delete(delete.build()?)
        }
        Action::Expire(key, seconds) => {
            let update = Update::builder()
                .table_name(table)
                .set_key(Some(key_attributes(key)))
                .update_expression("SET #expires_at = :expires_at")
                .expression_attribute_names("#expires_at", attr::EXPIRES_AT)
                .expression_attribute_values(":expires_at", AttributeValue::N(seconds.to_string()));
            item.update(update.build()?)
        }
    };
    Ok(item.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_a_cancelled_transaction() {
        use CallErrorKind::{Conflict, Denied, Invalid, Unreachable};
        let table: [(&[&str], CallErrorKind); 7] = [
            (&["ConditionalCheckFailed"], Conflict),
            (&["TransactionConflict"], Conflict),
            (&["ThrottlingError", "ConditionalCheckFailed"], Conflict),
            (&["ThrottlingError"], Unreachable),
            (&["ProvisionedThroughputExceeded"], Unreachable),
            (&["AccessDenied", "ThrottlingError"], Denied),
            (&["ValidationError"], Invalid),
        ];
        for (reasons, expected) in table {
            assert_eq!(cancelled_kind(reasons), expected, "{reasons:?}");
        }
    }
}
