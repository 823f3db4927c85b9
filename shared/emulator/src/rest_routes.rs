//! Names of REST calls: method and path to service and operation.

use axum::http::Method;

/// Method, path segments (`*` = any one, the API's date is not compared), service, operation.
type Route = (Method, &'static [&'static str], &'static str, &'static str);

const ROUTES: [Route; 30] = [
    (Method::POST, &["schedules", "*"], "scheduler", "CreateSchedule"),
    (Method::GET, &["schedules", "*"], "scheduler", "GetSchedule"),
    (Method::PUT, &["schedules", "*"], "scheduler", "UpdateSchedule"),
    (Method::DELETE, &["schedules", "*"], "scheduler", "DeleteSchedule"),
    (Method::GET, &["schedules"], "scheduler", "ListSchedules"),
    (Method::POST, &["*", "functions"], "lambda", "CreateFunction"),
    (Method::GET, &["*", "functions"], "lambda", "ListFunctions"),
    (Method::GET, &["*", "functions", "*"], "lambda", "GetFunction"),
    (Method::DELETE, &["*", "functions", "*"], "lambda", "DeleteFunction"),
    (Method::PUT, &["*", "functions", "*", "code"], "lambda", "UpdateFunctionCode"),
    (Method::GET, &["*", "functions", "*", "configuration"], "lambda", "GetFunctionConfiguration"),
    (Method::PUT, &["*", "functions", "*", "configuration"], "lambda", "UpdateFunctionConfiguration"),
    (Method::POST, &["*", "functions", "*", "versions"], "lambda", "PublishVersion"),
    (Method::GET, &["*", "functions", "*", "versions"], "lambda", "ListVersionsByFunction"),
    (Method::POST, &["*", "functions", "*", "aliases"], "lambda", "CreateAlias"),
    (Method::GET, &["*", "functions", "*", "aliases"], "lambda", "ListAliases"),
    (Method::GET, &["*", "functions", "*", "aliases", "*"], "lambda", "GetAlias"),
    (Method::PUT, &["*", "functions", "*", "aliases", "*"], "lambda", "UpdateAlias"),
    (Method::DELETE, &["*", "functions", "*", "aliases", "*"], "lambda", "DeleteAlias"),
    (Method::POST, &["*", "functions", "*", "invocations"], "lambda", "Invoke"),
    (Method::POST, &["*", "functions", "*", "invoke-async"], "lambda", "InvokeAsync"),
    (Method::POST, &["*", "functions", "*", "policy"], "lambda", "AddPermission"),
    (Method::GET, &["*", "functions", "*", "policy"], "lambda", "GetPolicy"),
    (Method::PUT, &["*", "functions", "*", "concurrency"], "lambda", "PutFunctionConcurrency"),
    (Method::GET, &["*", "functions", "*", "concurrency"], "lambda", "GetFunctionConcurrency"),
    (Method::DELETE, &["*", "functions", "*", "concurrency"], "lambda", "DeleteFunctionConcurrency"),
    (Method::PUT, &["*", "functions", "*", "event-invoke-config"], "lambda", "PutFunctionEventInvokeConfig"),
    (Method::POST, &["*", "functions", "*", "event-invoke-config"], "lambda", "UpdateFunctionEventInvokeConfig"),
    (Method::GET, &["*", "functions", "*", "event-invoke-config"], "lambda", "GetFunctionEventInvokeConfig"),
    (Method::DELETE, &["*", "functions", "*", "event-invoke-config"], "lambda", "DeleteFunctionEventInvokeConfig"),
];

/// Service and operation of a REST call, or `None` when the path belongs to no REST service. An unknown call of a known
/// service is named by its method and path, so that its error can say it.
pub(crate) fn find(method: &Method, path: &str) -> Option<(&'static str, String)> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let known = ROUTES
        .iter()
        .find(|(verb, pattern, _, _)| verb == method && fits(pattern, &segments))
        .map(|(_, _, service, operation)| (*service, (*operation).to_owned()));
    let service = match segments.as_slice() {
        ["schedules" | "schedule-groups" | "tags", ..] => Some("scheduler"),
        [_, "functions" | "event-source-mappings" | "layers", ..] => Some("lambda"),
        [..] => None,
    };
    known.or_else(|| service.map(|service| (service, format!("{method} {path}"))))
}

fn fits(pattern: &[&str], segments: &[&str]) -> bool {
    pattern.len() == segments.len()
        && pattern.iter().zip(segments).all(|(expected, found)| *expected == "*" || expected == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_and_path_name_the_call() {
        let table = [
            (
                "invoke by arn",
                Method::POST,
                "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations",
                Some(("lambda", "Invoke")),
            ),
            ("alias", Method::GET, "/2015-03-31/functions/checkout/aliases/live", Some(("lambda", "GetAlias"))),
            ("trailing slash", Method::POST, "/2015-03-31/functions/", Some(("lambda", "CreateFunction"))),
            ("schedule", Method::DELETE, "/schedules/x", Some(("scheduler", "DeleteSchedule"))),
            (
                "unknown lambda call",
                Method::PUT,
                "/2021-10-31/functions/f/url",
                Some(("lambda", "PUT /2021-10-31/functions/f/url")),
            ),
            ("nothing of REST", Method::POST, "/", None),
        ];
        for (case, method, path, expected) in table {
            let found = find(&method, path);
            let found = found.as_ref().map(|(service, operation)| (*service, operation.as_str()));
            assert_eq!(found, expected, "{case}");
        }
    }
}
