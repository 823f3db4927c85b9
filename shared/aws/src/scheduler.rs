//! One-time schedules.

use crate::Aws;
use crate::error::{call_error, not_set};
use aws_sdk_scheduler::error::BuildError;
use aws_sdk_scheduler::types::{ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, Target};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snapback_app::ports::{CallError, CallErrorKind, Schedules};
use snapback_core::{DeploymentId, Timestamp};
use snapback_wire::event::bake_end_input;
use std::time::Duration;

const CREATE: &str = "scheduler:CreateSchedule";

impl Schedules for Aws {
    async fn end_of_bake(&self, id: &DeploymentId, at: Timestamp) -> Result<(), CallError> {
        let settings = &self.settings;
        let watchdog = settings.watchdog_arn.as_deref();
        let watchdog = watchdog.ok_or_else(|| not_set(CREATE, "SNAPBACK_WATCHDOG_ARN"))?;
        let role = settings.scheduler_role_arn.as_deref();
        let role = role.ok_or_else(|| not_set(CREATE, "SNAPBACK_SCHEDULER_ROLE_ARN"))?;
        let name = schedule_name(id);
        let invalid = |error: BuildError| CallError::new(CallErrorKind::Invalid, CREATE, &name, error.to_string());
        let target = Target::builder().arn(watchdog).role_arn(role);
        let target = target.input(bake_end_input(id)).build().map_err(invalid)?;
        let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off);
        let request = self.scheduler.create_schedule();
        let request = request
            .name(&name)
            .schedule_expression(expression(at))
            .schedule_expression_timezone("UTC")
            .flexible_time_window(window.build().map_err(invalid)?)
            .action_after_completion(ActionAfterCompletion::Delete)
            .target(target);
        match request.send().await {
            Ok(_) => Ok(()),
            // The name is the deployment's: it is the same schedule, made before.
            Err(error) if error.as_service_error().and_then(|error| error.code()) == Some("ConflictException") => {
                Ok(())
            }
            Err(error) => Err(call_error(CREATE, &name, &error)),
        }
    }
}

/// One name for one deployment, so that a second request makes no second schedule.
fn schedule_name(id: &DeploymentId) -> String {
    format!("snapback-bake-end-{id}")
}

/// `at(2026-11-20T10:15:27)`, UTC, rounded up to a whole second: never before the time that was asked for.
fn expression(at: Timestamp) -> String {
    let rounded_up = at + Duration::from_millis(999);
    let text: String = rounded_up.to_string().chars().take(19).collect();
    format!("at({text})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_never_early() {
        let table = [
            (1_795_169_726_900, "at(2026-11-20T10:15:27)"),
            (1_795_169_726_000, "at(2026-11-20T10:15:26)"),
            (1_795_169_726_001, "at(2026-11-20T10:15:27)"),
        ];
        for (ms, expected) in table {
            assert_eq!(expression(Timestamp::from_ms(ms)), expected);
        }
    }

    #[test]
    fn names_fit_the_scheduler() {
        let name = schedule_name(&DeploymentId::parse("d-A1B2C3D4E").unwrap());
        assert_eq!(name, "snapback-bake-end-d-A1B2C3D4E");
        assert!(name.len() <= 64);
    }
}
