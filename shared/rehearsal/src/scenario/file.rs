//! The text of a scenario.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{AppSpecFormat, Expect, Hook, Of, PolicyPreset, Scenario, Service, Shift, Step, Version};
use crate::fault::{Fault, VersionFaults};
use crate::install::SERVICE;
use crate::span::Span;

/// Requests a second, unless the scenario says so.
const LOAD: f64 = 40.0;

/// Keys of a scenario and of a service: without `services` those of the only service stand beside the scenario's.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    name: Option<String>,
    about: Option<String>,
    warm_up: Option<Span>,
    steps: Option<Vec<Step>>,
    /// By name. Each has a function (its name, if not said otherwise) and a group (`NAME-live`) of its own.
    services: Option<BTreeMap<String, Keys>>,

    function: Option<String>,
    group: Option<String>,
    expect: Option<Expect>,
    load: Option<f64>,
    api: Option<String>,
    shift: Option<Shift>,
    versions: Option<BTreeMap<String, VersionFaults>>,
    slow_above: Option<Span>,
    service_timeout: Option<Span>,
    service_concurrency: Option<u32>,
    hooks: Option<Vec<Hook>>,
    app_spec: Option<AppSpecFormat>,
    alarm_actions: Option<bool>,
    policy_preset: Option<PolicyPreset>,
    policy: Option<Value>,
}

pub(super) fn scenario(name: &str, text: &str) -> Result<Scenario, String> {
    let mut keys = read(text)?;
    let about = keys.about.take().ok_or("it has no `about`")?;
    let name = keys.name.take().unwrap_or_else(|| name.to_owned());
    let warm_up = keys.warm_up.take();
    let steps = keys.steps.take().ok_or("it has no `steps`")?;
    let services = match keys.services.take() {
        None => vec![keys.service(SERVICE)?],
        Some(services) => {
            if let Some(key) = keys.of_a_service() {
                return Err(format!("`{key}` stands at each of the `services`"));
            }
            services.into_iter().map(|(name, keys)| keys.service(&name)).collect::<Result<_, _>>()?
        }
    };
    let scenario = Scenario { name, about, warm_up, services, steps };
    match scenario.wrong_step().or_else(|| scenario.wrong_service()) {
        Some(why) => Err(why),
        None => Ok(scenario),
    }
}

pub(super) fn service(name: &str, text: &str) -> Result<Service, String> {
    read(text)?.service(name)
}

fn read(text: &str) -> Result<Keys, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

impl Keys {
    fn service(self, name: &str) -> Result<Service, String> {
        if let Some(key) = self.of_the_scenario() {
            return Err(format!("`{key}` stands at the scenario, not at a service"));
        }
        let service = Service {
            name: name.to_owned(),
            function: self.function.unwrap_or_else(|| name.to_owned()),
            group: self.group.unwrap_or_else(|| format!("{name}-live")),
            expect: self.expect,
            load: self.load.unwrap_or(LOAD),
            api: self.api,
            shift: self.shift.unwrap_or_default(),
            versions: self.versions.unwrap_or_default(),
            slow_above: self.slow_above,
            timeout: self.service_timeout,
            concurrency: self.service_concurrency,
            hooks: self.hooks.unwrap_or_else(|| vec![Hook::BeforeAllowTraffic, Hook::AfterAllowTraffic]),
            app_spec: self.app_spec.unwrap_or_default(),
            alarm_actions: self.alarm_actions.unwrap_or_default(),
            policy_preset: self.policy_preset.unwrap_or_default(),
            policy: self.policy.unwrap_or_default(),
        };
        match service.out_of_range() {
            Some(why) => Err(why),
            None => Ok(service),
        }
    }

    /// The first key that only a scenario has.
    fn of_the_scenario(&self) -> Option<&'static str> {
        let given = [
            ("name", self.name.is_some()),
            ("about", self.about.is_some()),
            ("warm-up", self.warm_up.is_some()),
            ("steps", self.steps.is_some()),
            ("services", self.services.is_some()),
        ];
        given.into_iter().find_map(|(key, is_given)| is_given.then_some(key))
    }

    /// The first key that only a service has.
    fn of_a_service(&self) -> Option<&'static str> {
        let given = [
            ("function", self.function.is_some()),
            ("group", self.group.is_some()),
            ("expect", self.expect.is_some()),
            ("load", self.load.is_some()),
            ("api", self.api.is_some()),
            ("shift", self.shift.is_some()),
            ("versions", self.versions.is_some()),
            ("slow-above", self.slow_above.is_some()),
            ("service-timeout", self.service_timeout.is_some()),
            ("service-concurrency", self.service_concurrency.is_some()),
            ("hooks", self.hooks.is_some()),
            ("app-spec", self.app_spec.is_some()),
            ("alarm-actions", self.alarm_actions.is_some()),
            ("policy-preset", self.policy_preset.is_some()),
            ("policy", self.policy.is_some()),
        ];
        given.into_iter().find_map(|(key, is_given)| is_given.then_some(key))
    }
}

impl Scenario {
    /// The first step that cannot be carried out.
    fn wrong_step(&self) -> Option<String> {
        self.steps.iter().find_map(|step| match step {
            Step::Deploy(of) | Step::RepairAlias(of) => self.wrong_version(of),
            Step::Wait(Of { service: Some(name), .. })
            | Step::Operate(Of { service: Some(name), .. })
            | Step::Load(Of { service: Some(name), .. }) => {
                self.service(Some(name)).is_none().then(|| no_service(name))
            }
            Step::Break(Fault::Dependency { fails, .. }) if !(0.0..=1.0).contains(fails) => {
                Some(format!("a dependency fails {fails} of its calls, allowed is 0 to 1"))
            }
            Step::Wait(_)
            | Step::Operate(_)
            | Step::Load(_)
            | Step::Break(_)
            | Step::Fix(_)
            | Step::FixAll
            | Step::StopWithoutRollback
            | Step::Pause
            | Step::WaitForRed(_)
            | Step::Calm(_) => None,
        })
    }

    fn wrong_version(&self, of: &Of<Version>) -> Option<String> {
        let version = &of.what.0;
        let Some(service) = self.service(of.service.as_deref()) else {
            return Some(match &of.service {
                Some(name) => no_service(name),
                None => format!("a step is about version `{version}`, and does not say of which service"),
            });
        };
        let is_known = version == "live" || service.versions.contains_key(version);
        (!is_known).then(|| format!("a step is about version `{version}`, which `versions` does not name"))
    }

    /// The first service whose end is not said, or that has none.
    fn wrong_service(&self) -> Option<String> {
        let deployed: BTreeSet<&str> = self
            .steps
            .iter()
            .filter_map(|step| if let Step::Deploy(of) = step { self.service(of.service.as_deref()) } else { None })
            .map(|service| service.name.as_str())
            .collect();
        if deployed.is_empty() {
            return Some("no step deploys anything".to_owned());
        }
        self.services.iter().find_map(|service| match (deployed.contains(service.name.as_str()), &service.expect) {
            (true, None) => Some(format!("`expect` of service `{}` is missing: how must it end?", service.name)),
            (false, Some(_)) => Some(format!("service `{}` has an `expect`, and no step deploys it", service.name)),
            (true, Some(_)) | (false, None) => None,
        })
    }
}

fn no_service(name: &str) -> String {
    format!("a step is about service `{name}`, which `services` does not name")
}

impl Service {
    /// The first value that makes no sense.
    fn out_of_range(&self) -> Option<String> {
        if !(0.0..=500.0).contains(&self.load) {
            return Some(format!("load is {}, allowed is 0 to 500 requests a second", self.load));
        }
        for (version, faults) in &self.versions {
            if let Some((key, share)) = faults.wrong_share() {
                return Some(format!("{key} of version `{version}` is {share}, allowed is 0 to 1"));
            }
        }
        let timeout = self.timeout.unwrap_or(Span::seconds(1));
        if !(Span::seconds(1)..=Span::seconds(900)).contains(&timeout) {
            return Some(format!("service-timeout is {} ms, allowed is 1s to 15m", timeout.0.as_millis()));
        }
        let concurrency = self.concurrency.filter(|most| !(1..=64).contains(most))?;
        Some(format!("service-concurrency is {concurrency}, allowed is 1 to 64"))
    }
}
