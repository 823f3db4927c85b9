//! Rehearsals: a scenario is played on the embedded AWS with the real function binaries, and its end is compared with what
//! the scenario expects.
//!
//! What knows both Snapback and the emulator is here: which functions, rules and roles an installation has ([`wiring`], read from
//! its template), the policies and alarms of the demo services, and what of Snapback's table is read for a report. It never
//! uses the decisions or the use cases: it must not share our misunderstandings.

mod alarms;
mod fault;
mod install;
mod play;
mod policy;
mod report;
mod scenario;
mod span;
mod table;
mod timeline;
pub mod wiring;

pub use fault::{CallFault, DependencyAnswer, EventFault, Fault, Fixable, FunctionFault, VersionFaults};
pub use install::{
    ALIAS, GROUP, InstallError, POLICY_PREFIX, SERVICE, TABLE, Versions, check_binaries, deploy, service, snapback,
};
pub use play::{Play, play};
pub use policy::policy;
pub use report::{DeploymentEnd, Report};
pub use scenario::{
    AppSpecFormat, Expect, Expected, Hook, Moment, Of, PolicyPreset, Scenario, ScenarioError, Service, Shift, Step,
    Verb, Version, names,
};
pub use span::Span;
pub use timeline::{Audience, Line};
