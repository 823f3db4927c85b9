//! What a template grants and wires, compared with what was asked for: nothing missing, nothing spare.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Wiring;
use snapback_emulator::iam::{Ask, SOURCE_ARN};

/// What `wiring` lacks of what was `asked`, and what of it nobody asked for; one sentence each, none = it fits.
#[must_use]
pub fn audit(wiring: &Wiring, asked: &BTreeSet<Ask>) -> BTreeSet<String> {
    let asked: Vec<&Ask> = asked.iter().collect();
    let missing = asked.iter().filter(|ask| !wiring.authority.allows(ask)).map(|ask| format!("missing: {ask}"));
    missing
        .chain(unwired(wiring, &asked))
        .chain(spare_grants(wiring, &asked))
        .chain(spare_ways(wiring, &asked))
        .collect()
}

/// Deliveries that the template no longer makes. Alarms that call a function are the services', not the template's.
fn unwired(wiring: &Wiring, asked: &[&Ask]) -> BTreeSet<String> {
    let is_delivery =
        |ask: &Ask| ask.context.get(SOURCE_ARN).is_some_and(|from| !from.starts_with("arn:aws:cloudwatch:"));
    let deliveries = asked.iter().filter(|ask| is_delivery(ask));
    let unwired = deliveries.filter(|ask| !ways(wiring).iter().any(|way| way.is(ask)));
    unwired.map(|ask| format!("missing: the way of {ask}")).collect()
}

/// Allowed, and never asked for.
fn spare_grants(wiring: &Wiring, asked: &[&Ask]) -> BTreeSet<String> {
    let authority = &wiring.authority;
    let mut spare = BTreeSet::new();
    for (role, policy) in &authority.roles {
        let by_role: Vec<&&Ask> =
            asked.iter().filter(|ask| authority.role_of(&ask.principal) == Some(role.as_str())).collect();
        let unused = policy.grants().filter(|grant| !by_role.iter().any(|ask| grant.allows(ask)));
        spare.extend(unused.map(|grant| format!("spare: {} may {grant}", short(role))));
    }
    for (resource, policy) in &authority.resources {
        let about: Vec<&&Ask> = asked.iter().filter(|ask| ask.resource == *resource).collect();
        let unused = policy.grants().filter(|grant| !about.iter().any(|ask| grant.allows(ask)));
        spare.extend(unused.map(|grant| format!("spare: {} lets {grant}", short(resource))));
    }
    spare
}

/// Wired, and nothing ever went there.
fn spare_ways(wiring: &Wiring, asked: &[&Ask]) -> BTreeSet<String> {
    let unused = ways(wiring).into_iter().filter(|way| !asked.iter().any(|ask| way.is(ask)));
    unused.map(|way| format!("spare: nothing went from {} to {}", short(way.from), short(way.to))).collect()
}

/// From a rule to a target or its dead letters, or from a function to its on-failure destination.
struct Way<'a> {
    from: &'a str,
    to: &'a str,
}

impl Way<'_> {
    fn is(&self, ask: &Ask) -> bool {
        ask.context.get(SOURCE_ARN).is_some_and(|from| from == self.from) && ask.resource == self.to
    }
}

fn ways(wiring: &Wiring) -> Vec<Way<'_>> {
    let mut ways = Vec::new();
    for rule in &wiring.rules {
        for target in rule.targets.get("Targets").and_then(Value::as_array).into_iter().flatten() {
            let ends = [target.get("Arn"), target.pointer("/DeadLetterConfig/Arn")];
            ways.extend(ends.into_iter().flatten().filter_map(Value::as_str).map(|to| Way { from: &rule.arn, to }));
        }
    }
    for function in &wiring.functions {
        ways.extend(function.async_config.on_failure.as_deref().map(|to| Way { from: &function.arn, to }));
    }
    ways
}

/// What follows the account in an ARN.
fn short(arn: &str) -> &str {
    arn.splitn(6, ':').nth(5).unwrap_or(arn)
}
