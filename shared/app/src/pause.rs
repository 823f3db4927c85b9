//! The kill switch: a person pauses Snapback, and every function finds out.

use crate::compare_and_set::compare_and_set;
use crate::error::AppError;
use crate::ports::{CallError, Clock, PauseStore};
use snapback_core::pause::{Attribution, Pause, PauseScope};

/// What became of a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paused {
    /// It holds from now on.
    Began(Pause),
    /// This one held already; nothing was changed.
    HeldBefore(Pause),
}

/// What became of a resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// This pause is over.
    Ended(Pause),
    /// The scope was not paused; nothing was changed.
    NotPaused,
}

/// Pauses `scope`, unless it is paused.
///
/// # Errors
/// When the table cannot be used; [`AppError::Contended`] when others pause and resume under every try.
pub async fn pause<P: PauseStore + Clock>(
    ports: &P,
    scope: &PauseScope,
    who: &str,
    why: &str,
) -> Result<Paused, AppError> {
    compare_and_set(&pause_of(scope), async |_| {
        if let Some(held) = held(ports, scope).await? {
            return Ok(Paused::HeldBefore(held));
        }
        let pause = Pause { scope: scope.clone(), began: attribution(ports, who, why), ended: None };
        ports.save_pause(&pause).await?;
        Ok(Paused::Began(pause))
    })
    .await
}

/// Ends the pause of `scope`. A pause of another scope that covers the same groups goes on.
///
/// # Errors
/// As [`pause`].
pub async fn resume<P: PauseStore + Clock>(
    ports: &P,
    scope: &PauseScope,
    who: &str,
    why: &str,
) -> Result<Resumed, AppError> {
    compare_and_set(&pause_of(scope), async |_| {
        let Some(held) = held(ports, scope).await? else {
            return Ok(Resumed::NotPaused);
        };
        let pause = Pause { ended: Some(attribution(ports, who, why)), ..held };
        ports.save_pause(&pause).await?;
        Ok(Resumed::Ended(pause))
    })
    .await
}

fn pause_of(scope: &PauseScope) -> String {
    format!("the pause of {}", scope.words())
}

async fn held<P: PauseStore>(ports: &P, scope: &PauseScope) -> Result<Option<Pause>, CallError> {
    let pauses = ports.pauses().await?;
    Ok(pauses.into_iter().find(|pause| pause.scope == *scope && pause.holds()))
}

fn attribution<P: Clock>(ports: &P, who: &str, why: &str) -> Attribution {
    Attribution { at: ports.now(), who: who.to_owned(), why: why.to_owned() }
}

/// The pauses on record, for one reconciliation. When they cannot be read there are none: a table out of reach must not switch the
/// protection off, nor keep a hook waiting. It costs little, because a decision to go back is put on record in the same table
/// before anything is done about it.
pub(crate) async fn read<P: PauseStore>(ports: &P) -> Vec<Pause> {
    ports.pauses().await.unwrap_or_else(|error| {
        tracing::error!(%error, "pauses not read; acting as if there were none");
        Vec::new()
    })
}
