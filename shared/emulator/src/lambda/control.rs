//! The control plane for callers in the same process: functions, versions, aliases, concurrency, faults.

use std::path::PathBuf;

use super::config::{AsyncConfig, ConfigurationChange, FunctionConfig};
use super::faults::Fault;
use super::names::FunctionRef;
use super::state::{AliasChange, Function};
use super::{Core, Lambda};
use crate::parts::{AliasRouting, ApiError};

/// `function` is everywhere a name or an ARN.
impl Lambda {
    /// Creates a function; its `$LATEST` runs `config.code`. Reads the whole binary for its SHA-256.
    ///
    /// # Errors
    /// `ResourceConflictException` when it exists, `InvalidParameterValueException` when the binary cannot be read or a
    /// value is out of range.
    pub fn create_function(&self, config: FunctionConfig) -> Result<(), ApiError> {
        self.core.state().create(config, self.core.clock.now_ms())
    }

    /// Deletes a function with its versions and aliases and kills its processes.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn delete_function(&self, function: &str) -> Result<(), ApiError> {
        let deleted = self.core.state().delete(&FunctionRef::parse(function).name)?;
        deleted.environments.iter().for_each(|pooled| pooled.environment.kill());
        Ok(())
    }

    /// Publishes `$LATEST` and answers the version's number; the newest one's when nothing has changed since.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn publish_version(&self, function: &str, description: Option<String>) -> Result<String, ApiError> {
        let now_ms = self.core.clock.now_ms();
        self.core.with(function, |function| Ok(function.publish(description, now_ms)))
    }

    /// Changes the configuration of `$LATEST`; published versions keep theirs.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `InvalidParameterValueException`.
    pub fn update_configuration(&self, function: &str, change: ConfigurationChange) -> Result<(), ApiError> {
        let now_ms = self.core.clock.now_ms();
        self.core.with(function, |function| {
            function.change_latest(now_ms, |latest| {
                change.apply(latest);
                Ok(())
            })
        })
    }

    /// Gives `$LATEST` another binary; `package` as in [`FunctionConfig::package`].
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `InvalidParameterValueException` when the binary cannot be read.
    pub fn update_code(&self, function: &str, code: PathBuf, package: Option<Vec<u8>>) -> Result<(), ApiError> {
        let now_ms = self.core.clock.now_ms();
        self.core.with(function, |function| function.change_latest(now_ms, |latest| latest.load_code(code, package)))
    }

    /// Creates an alias.
    ///
    /// # Errors
    /// `ResourceNotFoundException` (function or version), `ResourceConflictException`, `InvalidParameterValueException`.
    pub fn create_alias(&self, function: &str, alias: &str, routing: AliasRouting) -> Result<(), ApiError> {
        self.core.with(function, |function| function.create_alias(alias, routing, String::new()))
    }

    /// Changes an alias; takes effect with the next request.
    ///
    /// # Errors
    /// `ResourceNotFoundException` (function, alias or version), `PreconditionFailedException` (another revision),
    /// `InvalidParameterValueException`.
    pub fn update_alias(&self, function: &str, alias: &str, change: AliasChange) -> Result<(), ApiError> {
        self.core.with(function, |function| function.update_alias(alias, change))
    }

    /// Sets the most invocations at once; `None` removes the limit.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn set_reserved_concurrency(&self, function: &str, reserved: Option<u32>) -> Result<(), ApiError> {
        self.core.with(function, |function| {
            function.reserved_concurrency = reserved;
            Ok(())
        })
    }

    /// Sets retries, event age and destination of asynchronous events.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `InvalidParameterValueException`.
    pub fn set_async_config(&self, function: &str, config: AsyncConfig) -> Result<(), ApiError> {
        config.check()?;
        self.core.with(function, |function| {
            function.async_config = config;
            Ok(())
        })
    }

    /// Switches a fault on or off. Several may be on at once.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn set_fault(&self, function: &str, fault: Fault, is_on: bool) -> Result<(), ApiError> {
        self.core.with(function, |function| {
            if !is_on {
                function.faults.remove(&fault);
                return Ok(());
            }
            function.faults.insert(fault);
            if fault == Fault::CannotStart {
                function.retire(|_| true);
            }
            Ok(())
        })
    }

    /// Kills all processes of a function now, busy or idle; answers how many. Running invocations fail.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn kill_running(&self, function: &str) -> Result<usize, ApiError> {
        self.core.with(function, |function| {
            let usable = function.environments.iter().filter(|pooled| pooled.environment.is_usable());
            Ok(usable.inspect(|pooled| pooled.environment.kill()).count())
        })
    }

    /// Stops all processes of a function now (SIGSTOP); each is killed when an invocation in it times out. Answers how
    /// many.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub async fn freeze_running(&self, function: &str) -> Result<usize, ApiError> {
        let environments: Vec<_> = self.core.with(function, |function| {
            let usable = function.environments.iter().filter(|pooled| pooled.environment.is_usable());
            Ok(usable.map(|pooled| std::sync::Arc::clone(&pooled.environment)).collect())
        })?;
        for environment in &environments {
            environment.freeze().await;
        }
        Ok(environments.len())
    }

    /// Name of the function whose processes call AWS with this access key.
    #[must_use]
    pub fn function_of(&self, access_key: &str) -> Option<String> {
        let state = self.core.state();
        let mut functions = state.functions();
        let function = functions.find(|function| function.access_key == access_key)?;
        Some(function.latest.function.clone())
    }

    /// Names of all functions, in order.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        let state = self.core.state();
        state.functions().map(|function| function.latest.function.clone()).collect()
    }

    /// Ids of all processes that run now.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        let state = self.core.state();
        let pooled = state.functions().flat_map(|function| &function.environments);
        pooled.filter_map(|pooled| pooled.environment.pid()).collect()
    }

    /// Ids of the processes of one function that run now; none when there is no such function.
    #[must_use]
    pub fn processes_of(&self, function: &str) -> Vec<u32> {
        let state = self.core.state();
        let pooled = state.get(&FunctionRef::parse(function).name).map(|function| function.environments.as_slice());
        pooled.unwrap_or_default().iter().filter_map(|pooled| pooled.environment.pid()).collect()
    }
}

impl Core {
    /// Does something with a function, under the lock.
    pub(super) fn with<T>(
        &self,
        function: &str,
        act: impl FnOnce(&mut Function) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        act(self.state().get_mut(&FunctionRef::parse(function).name)?)
    }
}
