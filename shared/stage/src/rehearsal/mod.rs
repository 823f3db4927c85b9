//! Rehearsals: a scenario is played on the embedded AWS with the real function binaries, and its end is compared with what
//! the scenario expects.

mod alarms;
mod install;
mod play;
mod report;
mod scenario;
mod table;
mod timeline;

pub use install::{
    ALIAS, GROUP, InstallError, POLICY_PREFIX, SERVICE, TABLE, binaries, check_binaries, deploy, function_name, policy,
    service, snapback,
};
pub use play::{Play, play};
pub use report::Report;
pub use scenario::{
    CallFault, EventFault, Expect, Fault, FunctionFault, Moment, Scenario, ScenarioError, Shift, Step, Verb,
    VersionFaults, names,
};
pub use timeline::{Audience, Line};
