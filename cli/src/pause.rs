//! `snapback pause` and `snapback resume`: the kill switch, and how every command says that it is on.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use snapback_app::pause::{Paused, Resumed, pause, resume};
use snapback_app::ports::{GroupStore, PauseStore};
use snapback_aws::Aws;
use snapback_core::GroupRef;
use snapback_core::pause::{Pause, PauseScope, in_force};

use crate::arguments::reason;
use crate::output::{Failure, block_on, exit, human, print_text};
use crate::record::Source;

/// Arguments of `snapback pause` and `snapback resume`.
#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// Only this deployment group; without it the whole installation
    #[arg(long, value_name = "APPLICATION/GROUP", value_parser = GroupRef::parse)]
    group: Option<GroupRef>,
    /// Why; it goes on the record
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    why: String,
    /// Who; it goes on the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "somebody", value_parser = reason)]
    who: String,
    #[command(flatten)]
    source: Source,
}

impl Switch {
    pub(crate) fn pause(self) -> ExitCode {
        exit(block_on(async {
            let opened = self.source.open().await?;
            self.pause_on(&opened.aws).await
        }))
    }

    pub(crate) fn resume(self) -> ExitCode {
        exit(block_on(async {
            let opened = self.source.open().await?;
            self.resume_on(&opened.aws).await
        }))
    }

    fn scope(&self) -> PauseScope {
        self.group.clone().map_or(PauseScope::Installation, PauseScope::Group)
    }

    async fn pause_on(&self, aws: &Aws) -> Result<(), Failure> {
        let scope = self.scope();
        match pause(aws, &scope, &self.who, &self.why).await.map_err(Failure::unable)? {
            Paused::HeldBefore(held) => print_text(&format!("Nothing was changed. {}\n", sentence(&held))),
            Paused::Began(_) => {
                if let Some(group) = &self.group
                    && !is_known(aws, group).await
                {
                    eprintln!(
                        "snapback: deployment group {group} has no policy and no deployment on record; it is paused all the \
                         same, but look whether the name is right"
                    );
                }
                print_text(&format!(
                    "Paused {}: within a minute Snapback only observes there. To end it: {}\n",
                    scope.words(),
                    how_to_resume(&scope)
                ))
            }
        }
    }

    async fn resume_on(&self, aws: &Aws) -> Result<(), Failure> {
        let scope = self.scope();
        let resumed = resume(aws, &scope, &self.who, &self.why).await.map_err(Failure::unable)?;
        let others: Vec<Pause> = holding(aws.pauses().await.map_err(Failure::unable)?, self.group.as_ref());
        let others: String = others.iter().map(|pause| format!(" Still: {}", sentence(pause))).collect();
        match resumed {
            Resumed::Ended(pause) => {
                let lasted = pause.ended.as_ref().map(|said| said.at.since(pause.began.at));
                print_text(&format!(
                    "Resumed {}, after {}: within a minute Snapback acts again.{others}\n",
                    scope.words(),
                    human(lasted)
                ))
            }
            Resumed::NotPaused => {
                let text = format!("there is no pause of {}, so nothing was changed.{others}", scope.words());
                Err(Failure::bad(text))
            }
        }
    }
}

/// Whether the group was ever seen. Nobody is kept from pausing because that cannot be told.
async fn is_known(aws: &Aws, group: &GroupRef) -> bool {
    let has_policy = aws.groups().await.is_ok_and(|groups| groups.contains(group));
    has_policy || aws.group_history(group).await.is_ok_and(|history| !history.good.is_empty())
}

/// The pauses that hold for `group`, or for anything.
pub(crate) fn holding(mut pauses: Vec<Pause>, group: Option<&GroupRef>) -> Vec<Pause> {
    pauses.retain(|pause| pause.holds() && (group.is_none() || pause.scope.covers(group)));
    pauses
}

/// The last pause of each scope; why they cannot be read is said on standard error, too. It keeps nobody from the rest.
pub(crate) async fn read(aws: &Aws) -> Result<Vec<Pause>, String> {
    aws.pauses().await.map_err(|error| {
        eprintln!("snapback: it is not known whether Snapback is paused: {error}");
        error.to_string()
    })
}

/// Says on standard error that `group` is paused, and returns the pause that holds for it.
pub(crate) fn warn<'a>(pauses: &'a [Pause], group: &GroupRef) -> Option<&'a Pause> {
    let pause = in_force(pauses, Some(group))?;
    eprintln!("{}", sentence(pause));
    Some(pause)
}

/// What was read as a member of a document.
pub(crate) fn member(read: &Result<impl Serialize, String>) -> Value {
    match read {
        Ok(read) => json!(read),
        Err(why) => json!({ "unreadable": why }),
    }
}

/// A pause in one sentence or two.
pub(crate) fn sentence(pause: &Pause) -> String {
    let (scope, began) = (&pause.scope, &pause.began);
    format!(
        "PAUSED: {}, since {} by {}: {}. Snapback only observes there; to end it: {}",
        scope.words(),
        began.at,
        began.who,
        began.why,
        how_to_resume(scope)
    )
}

fn how_to_resume(scope: &PauseScope) -> String {
    match scope {
        PauseScope::Installation => "snapback resume --why …".to_owned(),
        PauseScope::Group(group) => format!("snapback resume --group {group} --why …"),
    }
}

/// A pause as documents show it; times are milliseconds since 1970 (UTC).
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// `*` or application/group.
    scope: String,
    since_ms: i64,
    who: String,
    why: String,
    ended_ms: Option<i64>,
    ended_by: Option<String>,
    ended_why: Option<String>,
}

impl Shown {
    pub(crate) fn of(pause: &Pause) -> Self {
        let (began, ended) = (&pause.began, pause.ended.as_ref());
        Self {
            scope: pause.scope.to_string(),
            since_ms: began.at.ms(),
            who: began.who.clone(),
            why: began.why.clone(),
            ended_ms: ended.map(|said| said.at.ms()),
            ended_by: ended.map(|said| said.who.clone()),
            ended_why: ended.map(|said| said.why.clone()),
        }
    }
}

/// Pauses of the past for people, one line each.
pub(crate) fn lines(pauses: &[Pause]) -> String {
    let line = |pause: &Pause| {
        let (began, scope) = (&pause.began, pause.scope.words());
        let end = match &pause.ended {
            Some(said) => format!("{}, resumed by {}: {}", human(Some(said.at.since(began.at))), said.who, said.why),
            None => "goes on".to_owned(),
        };
        format!("  {} {scope}, by {}: {} ({end})\n", began.at, began.who, began.why)
    };
    pauses.iter().map(line).collect()
}
