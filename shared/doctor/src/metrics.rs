//! Metrics of AWS services: which exist, with which sets of dimensions and in which unit. From each service's own page on its
//! metrics, 2026.

/// What the values of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Something is counted; the number is the Sum.
    Count,
    /// 0 or 1 for each request: the Sum counts, the Average is a rate between 0 and 1.
    Outcome,
    /// 1 for each case, and nothing otherwise: the Sum counts, all other statistics are 1.
    Ones,
    /// How long something took.
    Duration,
    /// A level.
    Level,
}

/// Metrics that have all but their name in common.
pub(crate) struct Metrics {
    pub(crate) names: &'static [&'static str],
    pub(crate) values: Values,
    pub(crate) unit: &'static str,
    /// Sets of dimensions with which they are published, in the order of names; empty: not checked.
    pub(crate) dimensions: &'static [&'static [&'static str]],
}

/// A namespace.
pub(crate) struct Namespace {
    pub(crate) name: &'static str,
    pub(crate) metrics: &'static [Metrics],
    /// Names that people use and that do not exist, and what to take instead.
    pub(crate) wrong: &'static [(&'static str, &'static str)],
}

const REST: &[&[&str]] = &[&["ApiName"], &["ApiName", "Stage"], &["ApiName", "Method", "Resource", "Stage"]];
const HTTP: &[&[&str]] = &[&["ApiId"], &["ApiId", "Stage"], &["ApiId", "Method", "Resource", "Stage"]];
const EITHER_API: &[&[&str]] = &[
    &["ApiName"],
    &["ApiName", "Stage"],
    &["ApiName", "Method", "Resource", "Stage"],
    &["ApiId"],
    &["ApiId", "Stage"],
    &["ApiId", "Route", "Stage"],
    &["ApiId", "Method", "Resource", "Stage"],
];
const FUNCTION: &[&[&str]] =
    &[&[], &["FunctionName"], &["FunctionName", "Resource"], &["ExecutedVersion", "FunctionName", "Resource"]];
const BALANCER: &[&[&str]] = &[&["LoadBalancer"], &["AvailabilityZone", "LoadBalancer"]];
const TARGETS: &[&[&str]] = &[
    &["LoadBalancer"],
    &["AvailabilityZone", "LoadBalancer"],
    &["LoadBalancer", "TargetGroup"],
    &["AvailabilityZone", "LoadBalancer", "TargetGroup"],
];
const TARGET_GROUP: &[&[&str]] = &[
    &["TargetGroup"],
    &["AvailabilityZone", "TargetGroup"],
    &["LoadBalancer", "TargetGroup"],
    &["AvailabilityZone", "LoadBalancer", "TargetGroup"],
];
const QUEUE: &[&[&str]] = &[&["QueueName"]];
const MACHINE: &[&[&str]] = &[&["StateMachineArn"]];

const fn metrics(
    names: &'static [&'static str],
    values: Values,
    unit: &'static str,
    dimensions: &'static [&'static [&'static str]],
) -> Metrics {
    Metrics { names, values, unit, dimensions }
}

const API_RATE: &str = "REST API: `5XXError` with Statistic Average, which is a rate between 0 and 1 (0.05 for 5 %); HTTP API: \
    metric math 5xx / Count (5xxErrorRate is CloudFront's)";
const BALANCER_RATE: &str = "metric math: HTTPCode_Target_5XX_Count / RequestCount (5xxErrorRate is CloudFront's)";
const AVAILABILITY: &str = "metric math: IF(requests > 0, 100 * (1 - FILL(errors, 0) / requests), 100)";

const API_GATEWAY: Namespace = Namespace {
    name: "AWS/ApiGateway",
    metrics: &[
        metrics(&["4XXError", "5XXError"], Values::Outcome, "Count", REST),
        metrics(&["CacheHitCount", "CacheMissCount"], Values::Count, "Count", REST),
        metrics(&["4xx", "5xx"], Values::Count, "Count", HTTP),
        metrics(&["DataProcessed"], Values::Count, "Bytes", HTTP),
        metrics(&["Count"], Values::Count, "Count", EITHER_API),
        metrics(&["Latency", "IntegrationLatency"], Values::Duration, "Milliseconds", EITHER_API),
        // WebSocket APIs.
        metrics(
            &["ConnectCount", "MessageCount", "IntegrationError", "ClientError", "ExecutionError"],
            Values::Count,
            "Count",
            &[],
        ),
    ],
    wrong: &[
        ("5xxErrorRate", API_RATE),
        ("5XXErrorRate", API_RATE),
        ("4xxErrorRate", "REST API: `4XXError` with Statistic Average (0 to 1); HTTP API: metric math 4xx / Count"),
        ("ErrorRate", API_RATE),
        ("Availability", AVAILABILITY),
        ("5XX", "REST API: `5XXError`; HTTP API: `5xx`"),
        ("4XX", "REST API: `4XXError`; HTTP API: `4xx`"),
        ("5xxError", "REST API: `5XXError`; HTTP API: `5xx`"),
        ("4xxError", "REST API: `4XXError`; HTTP API: `4xx`"),
        ("RequestCount", "`Count`"),
        ("Requests", "`Count`"),
        ("Errors", "REST API: `5XXError`; HTTP API: `5xx`"),
    ],
};

const LAMBDA: Namespace = Namespace {
    name: "AWS/Lambda",
    metrics: &[
        metrics(&["Invocations"], Values::Count, "Count", FUNCTION),
        metrics(&["Errors"], Values::Outcome, "Count", FUNCTION),
        metrics(
            &[
                "Throttles",
                "DeadLetterErrors",
                "DestinationDeliveryFailures",
                "ProvisionedConcurrencyInvocations",
                "ProvisionedConcurrencySpilloverInvocations",
                "RecursiveInvocationsDropped",
                "AsyncEventsReceived",
                "AsyncEventsDropped",
            ],
            Values::Count,
            "Count",
            FUNCTION,
        ),
        metrics(&["Duration", "PostRuntimeExtensionsDuration"], Values::Duration, "Milliseconds", FUNCTION),
        metrics(&["AsyncEventAge", "IteratorAge"], Values::Duration, "Milliseconds", &[]),
        metrics(
            &[
                "ConcurrentExecutions",
                "UnreservedConcurrentExecutions",
                "ClaimedAccountConcurrency",
                "ProvisionedConcurrentExecutions",
                "ProvisionedConcurrencyUtilization",
                "OffsetLag",
                "ProvisionedPollers",
            ],
            Values::Level,
            "",
            &[],
        ),
        metrics(
            &[
                "OversizedRecordCount",
                "SignatureValidationErrors",
                "PolledEventCount",
                "FilteredOutEventCount",
                "InvokedEventCount",
                "FailedInvokeEventCount",
                "DroppedEventCount",
                "OnFailureDestinationDeliveredEventCount",
                "DeletedEventCount",
                "UrlRequestCount",
                "Url4xxCount",
                "Url5xxCount",
            ],
            Values::Count,
            "Count",
            &[],
        ),
        metrics(&["UrlRequestLatency"], Values::Duration, "Milliseconds", &[]),
    ],
    wrong: &[
        ("ErrorRate", "metric math: Errors / Invocations"),
        ("Availability", AVAILABILITY),
        ("SuccessRate", "metric math: 100 * (1 - Errors / Invocations)"),
        ("Latency", "`Duration` (milliseconds)"),
        ("Timeouts", "`Errors`, which counts time-outs too"),
        ("InitDuration", "a metric filter on the REPORT lines of the function's log"),
        ("ColdStarts", "a metric filter on the REPORT lines of the function's log"),
        ("MemoryUtilization", "`memory_utilization` in the namespace LambdaInsights"),
    ],
};

const LOAD_BALANCER: Namespace = Namespace {
    name: "AWS/ApplicationELB",
    metrics: &[
        metrics(
            &[
                "HTTPCode_ELB_3XX_Count",
                "HTTPCode_ELB_4XX_Count",
                "HTTPCode_ELB_5XX_Count",
                "HTTPCode_ELB_500_Count",
                "HTTPCode_ELB_502_Count",
                "HTTPCode_ELB_503_Count",
                "HTTPCode_ELB_504_Count",
            ],
            Values::Ones,
            "Count",
            BALANCER,
        ),
        metrics(
            &[
                "HTTPCode_Target_2XX_Count",
                "HTTPCode_Target_3XX_Count",
                "HTTPCode_Target_4XX_Count",
                "HTTPCode_Target_5XX_Count",
            ],
            Values::Ones,
            "Count",
            TARGETS,
        ),
        metrics(
            &["TargetConnectionErrorCount", "TargetTLSNegotiationErrorCount", "RequestCount"],
            Values::Count,
            "Count",
            TARGETS,
        ),
        metrics(&["TargetResponseTime"], Values::Duration, "Seconds", TARGETS),
        metrics(
            &["RequestCountPerTarget", "LambdaInternalError", "LambdaUserError"],
            Values::Count,
            "Count",
            TARGET_GROUP,
        ),
        metrics(
            &["HealthyHostCount", "UnHealthyHostCount", "AnomalousHostCount"],
            Values::Level,
            "Count",
            TARGET_GROUP,
        ),
        metrics(
            &[
                "ActiveConnectionCount",
                "ClientTLSNegotiationErrorCount",
                "ConsumedLCUs",
                "DesyncMitigationMode_NonCompliant_Request_Count",
                "DroppedInvalidHeaderRequestCount",
                "ELBAuthError",
                "ELBAuthFailure",
                "ELBAuthLatency",
                "ELBAuthRefreshTokenSuccess",
                "ELBAuthSuccess",
                "ELBAuthUserClaimsSizeExceeded",
                "ForwardedInvalidHeaderRequestCount",
                "GrpcRequestCount",
                "HTTP_Fixed_Response_Count",
                "HTTP_Redirect_Count",
                "HTTP_Redirect_Url_Limit_Exceeded_Count",
                "HealthyStateDNS",
                "HealthyStateRouting",
                "IPv6ProcessedBytes",
                "IPv6RequestCount",
                "LambdaTargetProcessedBytes",
                "LowReputationPacketsDropped",
                "LowReputationRequestsDenied",
                "MitigatedHostCount",
                "NewConnectionCount",
                "NonStickyRequestCount",
                "PeakLCUs",
                "ProcessedBytes",
                "RejectedConnectionCount",
                "ReservedLCUs",
                "RuleEvaluations",
                "StandardProcessedBytes",
                "UnhealthyRoutingRequestCount",
                "UnhealthyStateDNS",
                "UnhealthyStateRouting",
                "ZonalShiftedHostCount",
            ],
            Values::Level,
            "",
            &[],
        ),
    ],
    wrong: &[
        ("5XXError", "`HTTPCode_Target_5XX_Count` and `HTTPCode_ELB_5XX_Count`"),
        ("HTTPCode_Backend_5XX", "`HTTPCode_Target_5XX_Count` (Backend is the classic load balancer's)"),
        ("HTTPCode_ELB_5XX", "`HTTPCode_ELB_5XX_Count` (without Count it is the classic load balancer's)"),
        ("HTTPCode_Target_5XX", "`HTTPCode_Target_5XX_Count`"),
        ("Latency", "`TargetResponseTime` (seconds)"),
        ("5xxErrorRate", BALANCER_RATE),
        ("5XXErrorRate", BALANCER_RATE),
        ("ErrorRate", BALANCER_RATE),
        ("Availability", AVAILABILITY),
    ],
};

const SQS: Namespace = Namespace {
    name: "AWS/SQS",
    metrics: &[
        metrics(
            &[
                "ApproximateNumberOfMessagesVisible",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
                "ApproximateNumberOfGroupsWithInflightMessages",
                "ApproximateNumberOfNoisyGroups",
                "ApproximateNumberOfMessagesVisibleInQuietGroups",
                "ApproximateNumberOfMessagesNotVisibleInQuietGroups",
                "ApproximateNumberOfMessagesDelayedInQuietGroups",
            ],
            Values::Level,
            "Count",
            QUEUE,
        ),
        metrics(
            &["ApproximateAgeOfOldestMessage", "ApproximateAgeOfOldestMessageInQuietGroups"],
            Values::Duration,
            "Seconds",
            QUEUE,
        ),
        metrics(
            &[
                "NumberOfMessagesSent",
                "NumberOfMessagesReceived",
                "NumberOfMessagesDeleted",
                "NumberOfEmptyReceives",
                "NumberOfDeduplicatedSentMessages",
            ],
            Values::Count,
            "Count",
            QUEUE,
        ),
        metrics(&["SentMessageSize"], Values::Level, "Bytes", QUEUE),
    ],
    wrong: &[("MessagesVisible", "`ApproximateNumberOfMessagesVisible`")],
};

const STATES: Namespace = Namespace {
    name: "AWS/States",
    metrics: &[
        metrics(
            &[
                "ExecutionsFailed",
                "ExecutionsTimedOut",
                "ExecutionsAborted",
                "ExecutionThrottled",
                "ExecutionsStarted",
                "ExecutionsSucceeded",
                "ExecutionsRedriven",
                "RedrivenExecutionsAborted",
                "RedrivenExecutionsFailed",
                "RedrivenExecutionsSucceeded",
                "RedrivenExecutionsTimedOut",
            ],
            Values::Count,
            "Count",
            MACHINE,
        ),
        metrics(&["ExecutionTime"], Values::Duration, "Milliseconds", MACHINE),
    ],
    wrong: &[("ExecutionFailed", "`ExecutionsFailed`"), ("ExecutionsThrottled", "`ExecutionThrottled`")],
};

const NAMESPACES: [&Namespace; 5] = [&API_GATEWAY, &LAMBDA, &LOAD_BALANCER, &SQS, &STATES];

/// Beginnings of names of metrics that the table leaves out: activities, service integrations, express workflows and the like.
const OTHER_STATES: [&str; 5] = ["Activity", "Activities", "Lambda", "Service", "Express"];

/// The namespace called `name`, when its metrics are known.
pub(crate) fn namespace(name: &str) -> Option<&'static Namespace> {
    NAMESPACES.into_iter().find(|namespace| namespace.name == name)
}

/// The metric, when it is known.
pub(crate) fn metric(namespace_name: &str, name: &str) -> Option<&'static Metrics> {
    namespace(namespace_name)?.metrics.iter().find(|metrics| metrics.names.contains(&name))
}

/// What is known about a name that is none of a namespace's metrics.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoMetric {
    /// It does not exist; take this instead.
    Instead(String),
    /// It is not in the table.
    Unknown,
}

/// Why `name` is no metric of `namespace`; `None`: it is one, or one that the table leaves out.
pub(crate) fn missing(namespace: &Namespace, name: &str) -> Option<NoMetric> {
    let mut names = namespace.metrics.iter().flat_map(|metrics| metrics.names);
    if names.any(|known| *known == name) {
        return None;
    }
    if namespace.name == STATES.name
        && (OTHER_STATES.iter().any(|other| name.starts_with(other))
            || name.contains("Throttl") && name != "ExecutionsThrottled")
    {
        return None;
    }
    if let Some((_, instead)) = namespace.wrong.iter().find(|(wrong, _)| *wrong == name) {
        return Some(NoMetric::Instead((*instead).to_owned()));
    }
    let mut names = namespace.metrics.iter().flat_map(|metrics| metrics.names);
    let near = names.find(|known| known.eq_ignore_ascii_case(name) || distance(known, name) <= 2);
    Some(near.map_or(NoMetric::Unknown, |near| NoMetric::Instead(format!("`{near}`"))))
}

/// How many letters have to be changed, added or taken away to make one name of the other (Levenshtein).
pub(crate) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut next = vec![index + 1];
        for (column, (pair, also)) in row.windows(2).zip(&other).enumerate() {
            let [above_left, above] = pair else { continue };
            let left = next.get(column).copied().unwrap_or_default();
            next.push((above_left + usize::from(letter != *also)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_exist() {
        let table = [
            ("AWS/ApiGateway", "5XXError", None),
            ("AWS/ApiGateway", "5xx", None),
            ("AWS/ApiGateway", "5xxErrorRate", Some("5XXError")),
            ("AWS/ApiGateway", "Availability", Some("IF(requests > 0")),
            ("AWS/ApiGateway", "latency", Some("`Latency`")),
            ("AWS/Lambda", "Error", Some("`Errors`")),
            ("AWS/Lambda", "Brandnew", Some("unknown")),
            ("AWS/ApplicationELB", "HTTPCode_Target_5XX", Some("`HTTPCode_Target_5XX_Count`")),
            ("AWS/States", "ServiceIntegrationsFailed", None),
            ("AWS/States", "ExecutionsThrottled", Some("`ExecutionThrottled`")),
        ];
        for (space, name, expected) in table {
            let found = missing(namespace(space).expect(space), name);
            match (found, expected) {
                (None, None) => {}
                (Some(NoMetric::Unknown), Some("unknown")) => {}
                (Some(NoMetric::Instead(instead)), Some(part)) => assert!(instead.contains(part), "{name}: {instead}"),
                (found, expected) => panic!("{space} {name}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn sets_of_dimensions_are_in_order() {
        for namespace in NAMESPACES {
            for set in namespace.metrics.iter().flat_map(|metrics| metrics.dimensions) {
                assert!(set.is_sorted(), "{}: {set:?}", namespace.name);
            }
        }
    }
}
