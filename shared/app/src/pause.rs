//! The kill switch: a person pauses Snapback, and every function finds out.

use crate::ports::{CallError, CallErrorKind, Clock, Records};
use snapback_core::pause::{Pause, Said, Scope};

/// Tries to store a pause against others who pause or resume the same scope.
const PAUSE_TRIES: u32 = 5;

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
/// When the table cannot be used, or others pause and resume under every try.
pub async fn pause<P: Records + Clock>(ports: &P, scope: &Scope, who: &str, why: &str) -> Result<Paused, CallError> {
    let mut tries = 0;
    loop {
        tries += 1;
        if let Some(held) = held(ports, scope).await? {
            return Ok(Paused::HeldBefore(held));
        }
        let pause = Pause { scope: scope.clone(), began: said(ports, who, why), ended: None };
        if is_stored(ports.save_pause(&pause).await, tries)? {
            return Ok(Paused::Began(pause));
        }
    }
}

/// Ends the pause of `scope`. A pause of another scope that covers the same groups goes on.
///
/// # Errors
/// As [`pause`].
pub async fn resume<P: Records + Clock>(ports: &P, scope: &Scope, who: &str, why: &str) -> Result<Resumed, CallError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(held) = held(ports, scope).await? else {
            return Ok(Resumed::NotPaused);
        };
        let pause = Pause { ended: Some(said(ports, who, why)), ..held };
        if is_stored(ports.save_pause(&pause).await, tries)? {
            return Ok(Resumed::Ended(pause));
        }
    }
}

async fn held<P: Records>(ports: &P, scope: &Scope) -> Result<Option<Pause>, CallError> {
    let pauses = ports.pauses().await?;
    Ok(pauses.into_iter().find(|pause| pause.scope == *scope && pause.holds()))
}

fn said<P: Clock>(ports: &P, who: &str, why: &str) -> Said {
    Said { at: ports.now(), who: who.to_owned(), why: why.to_owned() }
}

/// False: somebody else was faster, and there is a try left.
fn is_stored(result: Result<(), CallError>, tries: u32) -> Result<bool, CallError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.is(CallErrorKind::Conflict) && tries < PAUSE_TRIES => Ok(false),
        Err(error) => Err(error),
    }
}

/// The pauses on record, for one visit. When they cannot be read there are none: a table out of reach must not switch the
/// protection off, nor keep a hook waiting. It costs little, because a decision to go back is put on record in the same table
/// before anything is done about it.
pub(crate) async fn read<P: Records>(ports: &P) -> Vec<Pause> {
    ports.pauses().await.unwrap_or_else(|error| {
        tracing::error!(%error, "pauses not read; acting as if there were none");
        Vec::new()
    })
}
