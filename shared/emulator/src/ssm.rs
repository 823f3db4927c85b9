//! SSM Parameter Store: PutParameter, GetParameter, GetParameters, GetParametersByPath, DeleteParameter.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::iam::Ask;
use crate::json::{text, timestamp};
use crate::parts::{ACCOUNT, REGION};
use crate::protocol::{ApiFault, ApiRequest, ApiResponse, BoxFuture, Service, required};
use crate::tasks::lock;

/// Bytes of a standard parameter.
const STANDARD_BYTES_MAX: usize = 4 * 1024;
/// Bytes of an advanced parameter.
const ADVANCED_BYTES_MAX: usize = 8 * 1024;
/// Largest page that the API allows.
const PAGE_MAX: u64 = 10;
/// Largest first page that the emulator gives; AWS, too, may give fewer than asked for. Small, so that callers must page.
const FIRST_PAGE: usize = 3;

/// The parameters of one emulator.
pub struct Ssm {
    clock: Clock,
    parameters: Mutex<BTreeMap<String, Parameter>>,
}

#[derive(Debug, Clone)]
struct Parameter {
    value: String,
    kind: String,
    version: u64,
    modified_ms: i64,
}

impl Ssm {
    /// No parameters yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, parameters: Mutex::default() }
    }

    fn dispatch(&self, operation: &str, input: &Value) -> Result<Value, ApiFault> {
        match operation {
            "PutParameter" => self.put(input),
            "GetParameter" => self.get(input),
            "GetParameters" => self.get_all(input),
            "GetParametersByPath" => self.by_path(input),
            "DeleteParameter" => self.delete(input),
            _ => Err(ApiFault::unsupported("ssm", operation)),
        }
    }

    fn put(&self, input: &Value) -> Result<Value, ApiFault> {
        let name = name_of(input)?;
        let value = required(input, "Value", "ValidationException")?;
        let kind = text(input, "Type").unwrap_or("String");
        if !matches!(kind, "String" | "StringList" | "SecureString") {
            return Err(ApiFault::new(
                "UnsupportedParameterType",
                format!("`Type` is `{kind}`, allowed are String, StringList, SecureString"),
            ));
        }
        let tier = tier_of(text(input, "Tier"), value.len())?;
        let mut parameters = lock(&self.parameters);
        let version = match parameters.get(name) {
            Some(_) if input.get("Overwrite") != Some(&Value::Bool(true)) => {
                return Err(ApiFault::new(
                    "ParameterAlreadyExists",
                    format!("The parameter {name} already exists. To overwrite it, set Overwrite."),
                ));
            }
            Some(former) => former.version + 1,
            None => 1,
        };
        let parameter =
            Parameter { value: value.to_owned(), kind: kind.to_owned(), version, modified_ms: self.clock.now_ms() };
        parameters.insert(name.to_owned(), parameter);
        Ok(json!({"Version": version, "Tier": tier}))
    }

    fn get(&self, input: &Value) -> Result<Value, ApiFault> {
        let name = name_of(input)?;
        let parameters = lock(&self.parameters);
        let parameter = parameters.get(name).ok_or_else(|| not_found(name))?;
        Ok(json!({"Parameter": describe(name, parameter)}))
    }

    fn get_all(&self, input: &Value) -> Result<Value, ApiFault> {
        let names = input.get("Names").and_then(Value::as_array).filter(|names| (1..=10).contains(&names.len()));
        let names = names.ok_or_else(|| ApiFault::new("ValidationException", "`Names` holds 1 to 10 names"))?;
        let parameters = lock(&self.parameters);
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        for name in names.iter().filter_map(Value::as_str) {
            match parameters.get(name) {
                Some(parameter) => found.push(describe(name, parameter)),
                None => invalid.push(json!(name)),
            }
        }
        Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
    }

    fn by_path(&self, input: &Value) -> Result<Value, ApiFault> {
        let path = required(input, "Path", "ValidationException")?;
        if !path.starts_with('/') {
            return Err(ApiFault::new(
                "ValidationException",
                format!("`Path` is `{path}`, it must begin with a slash"),
            ));
        }
        let prefix = if path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
        let recursive = input.get("Recursive") == Some(&Value::Bool(true));
        let asked = match input.get("MaxResults") {
            None | Some(Value::Null) => PAGE_MAX,
            Some(given) => given.as_u64().filter(|count| (1..=PAGE_MAX).contains(count)).ok_or_else(|| {
                ApiFault::new("ValidationException", format!("`MaxResults` is {given}, allowed is 1 to {PAGE_MAX}"))
            })?,
        };
        let asked = usize::try_from(asked).unwrap_or(FIRST_PAGE);
        let after = text(input, "NextToken").unwrap_or_default();
        let page = if after.is_empty() { asked.min(FIRST_PAGE) } else { asked };
        let parameters = lock(&self.parameters);
        let fitting: Vec<(&String, &Parameter)> = parameters
            .iter()
            .filter(|(name, _)| name.strip_prefix(&prefix).is_some_and(|rest| recursive || !rest.contains('/')))
            .filter(|(name, _)| name.as_str() > after)
            .take(page + 1)
            .collect();
        let listed: Vec<Value> = fitting.iter().take(page).map(|(name, parameter)| describe(name, parameter)).collect();
        let mut output = json!({"Parameters": listed});
        // The token is the last name of the page: parameters that come or go between two pages shift nothing.
        if let (true, Some((last, _))) = (fitting.len() > page, fitting.get(page.saturating_sub(1))) {
            output = json!({"Parameters": output.get("Parameters"), "NextToken": last});
        }
        Ok(output)
    }

    fn delete(&self, input: &Value) -> Result<Value, ApiFault> {
        let name = name_of(input)?;
        lock(&self.parameters).remove(name).map(|_| json!({})).ok_or_else(|| not_found(name))
    }
}

impl Service for Ssm {
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
        Box::pin(std::future::ready(self.dispatch(&request.operation, &request.input).into()))
    }

    fn asks(&self, request: &ApiRequest) -> Vec<Ask> {
        let input = &request.input;
        let names = input.get("Names").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let one = text(input, "Name").or_else(|| text(input, "Path"));
        one.into_iter().chain(names).map(|name| request.ask(arn(name))).collect()
    }
}

fn arn(name: &str) -> String {
    format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{}", name.trim_start_matches('/'))
}

fn name_of(input: &Value) -> Result<&str, ApiFault> {
    let name = required(input, "Name", "ValidationException")?;
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '_' | '.' | '-');
    if !name.chars().all(allowed) || (name.contains('/') && !name.starts_with('/')) || name.len() > 1011 {
        let message = format!(
            "Parameter name `{name}` is invalid: letters, digits and `/_.-`, beginning with a slash when it has one"
        );
        return Err(ApiFault::new("ValidationException", message));
    }
    Ok(name)
}

fn tier_of(asked: Option<&str>, bytes: usize) -> Result<&'static str, ApiFault> {
    let too_long = |max: usize| {
        ApiFault::new("ValidationException", format!("the value has {bytes} bytes, this tier allows {max}"))
    };
    match asked.unwrap_or("Standard") {
        "Standard" if bytes <= STANDARD_BYTES_MAX => Ok("Standard"),
        "Standard" => Err(too_long(STANDARD_BYTES_MAX)),
        "Advanced" | "Intelligent-Tiering" if bytes > ADVANCED_BYTES_MAX => Err(too_long(ADVANCED_BYTES_MAX)),
        "Intelligent-Tiering" if bytes <= STANDARD_BYTES_MAX => Ok("Standard"),
        "Advanced" | "Intelligent-Tiering" => Ok("Advanced"),
        other => Err(ApiFault::new(
            "ValidationException",
            format!("`Tier` is `{other}`, allowed are Standard, Advanced, Intelligent-Tiering"),
        )),
    }
}

fn describe(name: &str, parameter: &Parameter) -> Value {
    json!({
        "Name": name,
        "Type": parameter.kind,
        "Value": parameter.value,
        "Version": parameter.version,
        "LastModifiedDate": timestamp(parameter.modified_ms),
        "ARN": arn(name),
        "DataType": "text",
    })
}

fn not_found(name: &str) -> ApiFault {
    ApiFault::new("ParameterNotFound", format!("Parameter {name} not found."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ssm() -> Ssm {
        Ssm::new(Clock::new(Duration::from_secs(60)))
    }

    #[test]
    fn pages_hold_every_parameter_of_a_path_once() {
        let ssm = ssm();
        for index in 10..25 {
            let name = format!("/snapback/policy/app/group-{index}");
            ssm.dispatch("PutParameter", &json!({"Name": name, "Value": "{}", "Type": "String"})).unwrap();
        }
        ssm.dispatch("PutParameter", &json!({"Name": "/snapback/policy-other/x", "Value": "{}"})).unwrap();
        let (mut names, mut token, mut pages) = (Vec::new(), Value::Null, 0);
        loop {
            let input = json!({"Path": "/snapback/policy", "Recursive": true, "NextToken": token});
            let output = ssm.dispatch("GetParametersByPath", &input).unwrap();
            names.extend(
                output["Parameters"].as_array().unwrap().iter().map(|p| p["Name"].as_str().unwrap().to_owned()),
            );
            pages += 1;
            match output.get("NextToken") {
                Some(next) => token = next.clone(),
                None => break,
            }
        }
        names.dedup();
        assert_eq!((names.len(), pages), (15, 3), "{names:?}");
        let flat = ssm.dispatch("GetParametersByPath", &json!({"Path": "/snapback/policy"})).unwrap();
        assert_eq!(flat, json!({"Parameters": []}), "not recursive");
    }

    #[test]
    fn tiers_bound_the_value() {
        // (case, tier, bytes, answer)
        let table = [
            ("standard, just inside", None, 4096, Ok("Standard")),
            ("standard, just over", None, 4097, Err("ValidationException")),
            ("advanced, just inside", Some("Advanced"), 8192, Ok("Advanced")),
            ("advanced, just over", Some("Advanced"), 8193, Err("ValidationException")),
            ("intelligent, small", Some("Intelligent-Tiering"), 4096, Ok("Standard")),
            ("intelligent, large", Some("Intelligent-Tiering"), 4097, Ok("Advanced")),
            ("unknown", Some("Gold"), 1, Err("ValidationException")),
        ];
        for (case, tier, bytes, expected) in table {
            let input = json!({"Name": "/p", "Value": "x".repeat(bytes), "Tier": tier});
            let answer = ssm().dispatch("PutParameter", &input);
            let answer = answer.map(|output| output["Tier"].as_str().unwrap().to_owned()).map_err(|fault| fault.code);
            assert_eq!(answer, expected.map(str::to_owned).map_err(str::to_owned), "{case}");
        }
    }

    #[test]
    fn overwriting_must_be_asked_for_and_missing_ones_are_named() {
        let ssm = ssm();
        let put = |overwrite| json!({"Name": "/p", "Value": "v", "Overwrite": overwrite});
        assert_eq!(ssm.dispatch("PutParameter", &put(false)).unwrap()["Version"], 1);
        assert_eq!(ssm.dispatch("PutParameter", &put(false)).unwrap_err().code, "ParameterAlreadyExists");
        assert_eq!(ssm.dispatch("PutParameter", &put(true)).unwrap()["Version"], 2);
        assert_eq!(ssm.dispatch("GetParameter", &json!({"Name": "/p"})).unwrap()["Parameter"]["Value"], "v");
        assert_eq!(ssm.dispatch("GetParameter", &json!({"Name": "/q"})).unwrap_err().code, "ParameterNotFound");
        let both = ssm.dispatch("GetParameters", &json!({"Names": ["/p", "/q"]})).unwrap();
        assert_eq!(both["InvalidParameters"], json!(["/q"]));
    }
}
