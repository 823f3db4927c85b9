//! Functions, versions and aliases: what the control plane keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::config::{AsyncConfig, ConfigurationChange, FunctionConfig, Version, invalid};
use super::environment::Environment;
use super::faults::Fault;
use super::names::{LATEST, qualified_arn, uuid};
use super::outside::Outside;
use crate::parts::{AliasRouting, ApiError};

/// All functions by name.
#[derive(Debug, Default)]
pub(super) struct State {
    functions: BTreeMap<String, Function>,
}

/// One function and what runs of it.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) latest: Version,
    pub(super) published: BTreeMap<u64, Version>,
    pub(super) aliases: BTreeMap<String, Alias>,
    pub(super) reserved_concurrency: Option<u32>,
    pub(super) max_concurrency_per_environment: u32,
    pub(super) async_config: AsyncConfig,
    pub(super) access_key: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) permissions: Vec<Value>,
    pub(super) faults: BTreeSet<Fault>,
    pub(super) outside: Outside,
    /// Invocations running now.
    pub(super) in_flight: u32,
    /// Environments with the invocations that each runs now.
    pub(super) environments: Vec<Pooled>,
    /// Environments that were started so far, by version.
    pub(super) started: BTreeMap<String, u64>,
    /// Whether `$LATEST` differs from the newest published version.
    changed_since_publish: bool,
}

/// An environment in the pool of its function.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) environment: Arc<Environment>,
    pub(super) active: u32,
    /// Gets no further invocation: its configuration is no longer the current one.
    pub(super) is_retired: bool,
}

/// A name for a version or a weighted pair.
#[derive(Debug, Clone)]
pub(super) struct Alias {
    pub(super) description: String,
    pub(super) routing: AliasRouting,
    pub(super) revision_id: String,
}

/// Changes of an alias; `None` keeps what is there.
#[derive(Debug, Clone, Default)]
pub struct AliasChange {
    /// Version that gets what the additional version leaves.
    pub version: Option<String>,
    /// `Some(None)` removes the additional version.
    pub additional: Option<Option<(String, f64)>>,
    /// Text for people.
    pub description: Option<String>,
    /// When given, the change is refused unless the alias still has this revision.
    pub revision_id: Option<String>,
}

impl State {
    /// The function, or the error that Lambda answers.
    pub(super) fn get(&self, name: &str) -> Result<&Function, ApiError> {
        self.functions.get(name).ok_or_else(|| not_found(name, None))
    }

    /// See [`State::get`].
    pub(super) fn get_mut(&mut self, name: &str) -> Result<&mut Function, ApiError> {
        self.functions.get_mut(name).ok_or_else(|| not_found(name, None))
    }

    pub(super) fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.values()
    }

    /// Adds a function whose `$LATEST` runs the configured binary.
    pub(super) fn create(&mut self, config: FunctionConfig, now_ms: i64) -> Result<(), ApiError> {
        if self.functions.contains_key(&config.name) {
            return Err(ApiError::new("ResourceConflictException", format!("Function already exist: {}", config.name)));
        }
        config.async_config.check()?;
        let mut latest = Version {
            function: config.name.clone(),
            version: LATEST.to_owned(),
            code: PathBuf::new(),
            code_sha256: String::new(),
            code_size: 0,
            description: config.description,
            environment: config.environment,
            timeout: config.timeout,
            memory_mb: config.memory_mb,
            role: config.role,
            last_modified_ms: now_ms,
            revision_id: uuid(),
        };
        latest.check()?;
        latest.load_code(config.code, config.package)?;
        let function = Function {
            latest,
            published: BTreeMap::new(),
            aliases: BTreeMap::new(),
            reserved_concurrency: config.reserved_concurrency,
            max_concurrency_per_environment: config.max_concurrency_per_environment.max(1),
            async_config: config.async_config,
            access_key: config.access_key,
            tags: config.tags,
            permissions: config.permissions,
            faults: BTreeSet::new(),
            outside: Outside::default(),
            in_flight: 0,
            environments: Vec::new(),
            started: BTreeMap::new(),
            changed_since_publish: true,
        };
        self.functions.insert(config.name, function);
        Ok(())
    }

    /// Removes a function; its environments are the caller's to end.
    pub(super) fn delete(&mut self, name: &str) -> Result<Function, ApiError> {
        self.functions.remove(name).ok_or_else(|| not_found(name, None))
    }
}

impl Function {
    /// Freezes `$LATEST` as the next version, or answers the newest one when nothing has changed since.
    pub(super) fn publish(&mut self, description: Option<String>, now_ms: i64) -> String {
        if let Some(newest) = self.published.values().next_back()
            && !self.changed_since_publish
        {
            return newest.version.clone();
        }
        let number = self.published.keys().next_back().map_or(1, |newest| newest + 1);
        let mut version = self.latest.clone();
        version.version = number.to_string();
        version.revision_id = uuid();
        version.last_modified_ms = now_ms;
        if let Some(description) = description {
            version.description = description;
        }
        self.published.insert(number, version);
        self.changed_since_publish = false;
        number.to_string()
    }

    /// Changes `$LATEST`. Its warm environments are of the old configuration: they get nothing more.
    pub(super) fn change_latest(
        &mut self,
        now_ms: i64,
        change: impl FnOnce(&mut Version) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let mut latest = self.latest.clone();
        change(&mut latest)?;
        latest.check()?;
        latest.revision_id = uuid();
        latest.last_modified_ms = now_ms;
        self.latest = latest;
        self.changed_since_publish = true;
        self.retire(|environment| environment.version() == LATEST);
        Ok(())
    }

    /// Ends the idle environments that match now, and the busy ones when they have finished.
    pub(super) fn retire(&mut self, which: impl Fn(&Environment) -> bool) {
        for pooled in self.environments.iter_mut().filter(|pooled| which(&pooled.environment)) {
            pooled.is_retired = true;
            if pooled.active == 0 {
                pooled.environment.kill();
            }
        }
    }

    /// The version called `version`, published or `$LATEST`.
    pub(super) fn version(&self, version: &str) -> Option<&Version> {
        if version == LATEST {
            return Some(&self.latest);
        }
        self.published.get(&version.parse().ok()?)
    }

    /// The version that a request with this qualifier runs; `draw` is uniform in 0..1 and asked only for a weighted alias.
    pub(super) fn resolve(&self, qualifier: Option<&str>, draw: impl FnOnce() -> f64) -> Result<&Version, ApiError> {
        let name = &self.latest.function;
        let Some(qualifier) = qualifier else {
            return Ok(&self.latest);
        };
        let Some(alias) = self.aliases.get(qualifier) else {
            return self.version(qualifier).ok_or_else(|| not_found(name, Some(qualifier)));
        };
        let version = match &alias.routing.additional {
            Some((additional, weight)) if draw() < *weight => additional,
            Some(_) | None => &alias.routing.version,
        };
        self.version(version).ok_or_else(|| not_found(name, Some(version)))
    }

    /// Adds an alias.
    pub(super) fn create_alias(
        &mut self,
        alias: &str,
        routing: AliasRouting,
        description: String,
    ) -> Result<(), ApiError> {
        if self.aliases.contains_key(alias) {
            let arn = qualified_arn(&self.latest.function, Some(alias));
            return Err(ApiError::new("ResourceConflictException", format!("Alias already exists: {arn}")));
        }
        if alias.is_empty() || alias.parse::<u64>().is_ok() || alias.starts_with('$') {
            return Err(invalid(format!("alias name `{alias}` is a version number, reserved or empty")));
        }
        self.check_routing(&routing)?;
        self.aliases.insert(alias.to_owned(), Alias { description, routing, revision_id: uuid() });
        Ok(())
    }

    /// Changes an alias; takes effect with the next request.
    pub(super) fn update_alias(&mut self, alias: &str, change: AliasChange) -> Result<(), ApiError> {
        let current = self.alias(alias)?.clone();
        if change.revision_id.is_some_and(|expected| expected != current.revision_id) {
            return Err(ApiError::new(
                "PreconditionFailedException",
                "The RevisionId provided does not match the latest RevisionId. Call the GetAlias API to retrieve the \
                 latest RevisionId",
            ));
        }
        let routing = AliasRouting {
            version: change.version.unwrap_or(current.routing.version),
            additional: change.additional.unwrap_or(current.routing.additional),
        };
        self.check_routing(&routing)?;
        let description = change.description.unwrap_or(current.description);
        self.aliases.insert(alias.to_owned(), Alias { description, routing, revision_id: uuid() });
        Ok(())
    }

    /// The alias, or the error that Lambda answers.
    pub(super) fn alias(&self, alias: &str) -> Result<&Alias, ApiError> {
        self.aliases.get(alias).ok_or_else(|| {
            let arn = qualified_arn(&self.latest.function, Some(alias));
            ApiError::new("ResourceNotFoundException", format!("Cannot find alias arn: {arn}"))
        })
    }

    /// The document of `GetAlias`.
    pub(super) fn alias_document(&self, name: &str) -> Result<Value, ApiError> {
        let alias = self.alias(name)?;
        let mut document = json!({
            "AliasArn": qualified_arn(&self.latest.function, Some(name)),
            "Name": name,
            "FunctionVersion": alias.routing.version,
            "Description": alias.description,
            "RevisionId": alias.revision_id,
        });
        if let (Some((version, weight)), Some(members)) = (&alias.routing.additional, document.as_object_mut()) {
            members.insert("RoutingConfig".to_owned(), json!({ "AdditionalVersionWeights": { version: weight } }));
        }
        Ok(document)
    }

    fn check_routing(&self, routing: &AliasRouting) -> Result<(), ApiError> {
        let name = &self.latest.function;
        let exists = |version: &str| match self.version(version) {
            Some(_) => Ok(()),
            None => Err(not_found(name, Some(version))),
        };
        exists(&routing.version)?;
        let Some((additional, weight)) = &routing.additional else {
            return Ok(());
        };
        exists(additional)?;
        if routing.version == LATEST || additional == LATEST {
            return Err(invalid("$LATEST is not supported for an alias pointing to more than 1 version"));
        }
        if routing.version == *additional {
            return Err(invalid(format!("version {additional} is both the alias's version and its additional one")));
        }
        if !(0.0..=1.0).contains(weight) {
            return Err(invalid(format!("weight of version {additional} is {weight}, allowed is 0.0 to 1.0")));
        }
        Ok(())
    }
}

impl ConfigurationChange {
    /// Puts the changes into a version.
    pub(super) fn apply(self, version: &mut Version) {
        let Self { environment, description, timeout, memory_mb } = self;
        if let Some(environment) = environment {
            version.environment = environment;
        }
        if let Some(description) = description {
            version.description = description;
        }
        if let Some(timeout) = timeout {
            version.timeout = timeout;
        }
        if let Some(memory_mb) = memory_mb {
            version.memory_mb = memory_mb;
        }
    }
}

/// `ResourceNotFoundException` for a function, version or alias.
fn not_found(name: &str, qualifier: Option<&str>) -> ApiError {
    let arn = qualified_arn(name, qualifier);
    ApiError::new("ResourceNotFoundException", format!("Function not found: {arn}"))
}
