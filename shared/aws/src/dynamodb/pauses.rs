//! Pauses: the last one of each scope, and all that were.

use super::calls::{Action, Condition};
use super::parsed;
use crate::Aws;
use snapback_app::ports::{CallError, PauseStore};
use snapback_core::Timestamp;
use snapback_core::pause::Pause;
use snapback_wire::record::{self as wire, attr};

impl PauseStore for Aws {
    async fn pauses(&self) -> Result<Vec<Pause>, CallError> {
        let items = self.partition(Condition::new("#pk = :pk"), wire::PAUSE).await?;
        items.iter().map(|item| parsed(wire::PAUSE, wire::parse_pause(item))).collect()
    }

    async fn past_pauses(&self, since: Timestamp) -> Result<Vec<Pause>, CallError> {
        let condition = Condition::new("#pk = :pk AND #sk >= :since");
        let condition = condition.name("#sk", attr::SK).text(":since", wire::digits(since));
        let items = self.partition(condition, wire::PAUSES).await?;
        items.iter().map(|item| parsed(wire::PAUSES, wire::parse_pause(item))).collect()
    }

    async fn save_pause(&self, pause: &Pause) -> Result<(), CallError> {
        // A pause that is over may be replaced, and the one that is ended is the one that was read.
        let condition = match pause.ended {
            None => Condition::new("attribute_not_exists(#pk) OR attribute_exists(#ended)").name("#pk", attr::PK),
            Some(_) => Condition::new("#at = :at AND attribute_not_exists(#ended)")
                .name("#at", attr::AT_MS)
                .number(":at", pause.began.at.ms()),
        };
        let current = Action::Put(wire::pause_item(pause), Some(condition.name("#ended", attr::ENDED)));
        self.transact(&pause.scope.to_string(), &[current, Action::Put(wire::past_pause_item(pause), None)]).await
    }
}
