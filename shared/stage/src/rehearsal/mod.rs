//! Rehearsals: a scenario is played on the embedded AWS with the real function binaries, and its end is compared with what
//! the scenario expects.

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

pub use fault::{CallFault, DependencyAnswer, EventFault, Fault, FunctionFault, Mendable, VersionFaults};
pub use install::{
    ALIAS, GROUP, InstallError, POLICY_PREFIX, SERVICE, TABLE, check_binaries, deploy, service, snapback,
};
pub use play::{Play, play};
pub use policy::policy;
pub use report::Report;
pub use scenario::{
    AppSpecFormat, Expect, Hook, Moment, PolicyPreset, Scenario, ScenarioError, Shift, Step, Verb, names,
};
pub use span::Span;
pub use timeline::{Audience, Line};
