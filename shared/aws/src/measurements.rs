//! CloudWatch metrics: which one a series of the judge is, and many of them in one GetMetricData. The only place that reads
//! metrics by their names, dimensions and statistics (alarms on them are defined in `wire`).

use crate::Aws;
use crate::error::{call_error, not_understood};
use crate::pages::Page;
use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy, StatusCode};
use aws_smithy_types::DateTime;
use futures_util::future::join_all;
use snapback_app::ports::{CallError, Metrics, TargetQueries};
use snapback_core::Timestamp;
use snapback_core::metrics::{Api, MetricTarget, Peer, Route, Source};
use snapback_core::target::{LambdaAlias, Target};
use snapback_judge::detector::Edges;
use snapback_judge::series::{
    Points, Quantity, Scope, SeriesError, SeriesQuery, SeriesResult, SourceId, SourceProfile, Window,
};

/// Queries that one GetMetricData takes.
pub const QUERIES_PER_CALL: usize = 500;
/// Calls that are under way at once.
pub const CALLS_AT_ONCE: usize = 8;
/// Pages of one GetMetricData that are read; more is an error.
pub const MAX_PAGES: usize = 10;

/// Whose answers they are, for people.
const NAME: &str = "CloudWatch";
pub(crate) const GET: &str = "cloudwatch:GetMetricData";

impl Metrics for Aws {
    fn has_own_series(&self) -> bool {
        self.own_function().is_some()
    }

    fn profile(&self, target: &MetricTarget, source: SourceId) -> SourceProfile {
        let counts = SourceProfile::COUNTS;
        match target.source(source) {
            // A trimmed count can be asked for at any value.
            None if source == SourceId::Latency => SourceProfile { edges: Some(Edges::eighths()), ..counts },
            None => counts,
            Some(Source::Custom { client_errors, version, .. }) => {
                SourceProfile { is_split: version.is_some(), has_client_errors: client_errors.is_some(), ..counts }
            }
            Some(Source::Api(api)) => SourceProfile {
                is_split: false,
                is_whole: true,
                is_shared: api.is_shared(),
                has_client_errors: true,
                ..counts
            },
        }
    }

    async fn measure(&self, window: Window, asked: &[TargetQueries<'_>]) -> Result<Vec<Vec<SeriesResult>>, CallError> {
        let on = asked.first().map(|asked| asked.target.target.name()).unwrap_or_default();
        let of = |asked: &TargetQueries<'_>| -> Vec<Option<CloudWatchSeries>> {
            asked.queries.iter().map(|query| CloudWatchSeries::of(query, asked.target, self.own_function())).collect()
        };
        let series: Vec<Vec<Option<CloudWatchSeries>>> = asked.iter().map(of).collect();
        let known: Vec<CloudWatchSeries> = series.iter().flatten().flatten().cloned().collect();
        let mut answers = self.read_all(window, &known, on).await?.into_iter();
        let mut answer = |series: Option<CloudWatchSeries>| match series {
            Some(_) => answers.next().unwrap_or(Err(SeriesError::NotAnswered(NAME))),
            None => Err(SeriesError::NoSuchSeries(NAME)),
        };
        Ok(series.into_iter().map(|series| series.into_iter().map(&mut answer).collect()).collect())
    }
}

impl Aws {
    /// The name of the running function; `None` outside of Lambda.
    fn own_function(&self) -> Option<&str> {
        Some(self.own_function.as_str()).filter(|name| !name.is_empty())
    }

    async fn read_all(
        &self,
        window: Window,
        series: &[CloudWatchSeries],
        on: &str,
    ) -> Result<Vec<SeriesResult>, CallError> {
        let chunks: Vec<&[CloudWatchSeries]> = series.chunks(QUERIES_PER_CALL).collect();
        let mut answers = Vec::with_capacity(series.len());
        // A thousand deployments are thirty calls: one after the other they would outlast a tick.
        for chunks in chunks.chunks(CALLS_AT_ONCE) {
            for some in join_all(chunks.iter().map(|series| self.metric_data(window, series, on))).await {
                answers.extend(some?);
            }
        }
        Ok(answers)
    }

    /// The points of each of `series` in `window`, in their order, or why it is not all there.
    ///
    /// * `series`: at most [`QUERIES_PER_CALL`].
    /// * `on`: what an error is about.
    pub(crate) async fn metric_data(
        &self,
        window: Window,
        series: &[CloudWatchSeries],
        on: &str,
    ) -> Result<Vec<SeriesResult>, CallError> {
        let period = i32::try_from(window.period.as_secs()).unwrap_or(60);
        let queries: Vec<MetricDataQuery> =
            series.iter().enumerate().map(|(index, series)| data_query(index, series, period)).collect();
        let mut collected = Collected::new(series.len());
        let mut next = Some(Page::first(GET, on, MAX_PAGES));
        while let Some(page) = next {
            let request = self.cloudwatch.get_metric_data();
            let request = request
                .set_metric_data_queries(Some(queries.clone()))
                .start_time(DateTime::from_millis(window.from.ms()))
                .end_time(DateTime::from_millis(window.to.ms()))
                .scan_by(ScanBy::TimestampAscending)
                .set_next_token(page.token());
            let answer = request.send().await.map_err(|error| call_error(GET, on, &error))?;
            collected.take_page(&answer).map_err(|what| not_understood(GET, on, what))?;
            next = page.after(answer.next_token())?;
        }
        Ok(collected.answers())
    }
}

/// Why a page of an answer makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum PointsError {
    #[error("a result `{0}` that was not asked for")]
    NotAsked(String),
    #[error("{times} times and {values} values")]
    Uneven { times: usize, values: usize },
    #[error("a time that no clock can have: {0}")]
    Time(String),
}

/// Series over all pages, each with why it is not all there as its last page tells.
struct Collected(Vec<(Points, Option<SeriesError>)>);

impl Collected {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| (Points::new(), Some(SeriesError::NotAnswered(NAME)))).collect())
    }

    /// A series may be partial on one page and complete on the next.
    fn take_page(&mut self, page: &GetMetricDataOutput) -> Result<(), PointsError> {
        for result in page.metric_data_results() {
            let id = result.id().unwrap_or_default();
            let index = id.strip_prefix('m').and_then(|digits| digits.parse::<usize>().ok());
            let series = index.and_then(|index| self.0.get_mut(index));
            let (points, why) = series.ok_or_else(|| PointsError::NotAsked(id.to_owned()))?;
            take_points(result, points)?;
            *why = incomplete(result);
        }
        Ok(())
    }

    fn answers(self) -> Vec<SeriesResult> {
        self.0.into_iter().map(|(points, why)| why.map_or(Ok(points), Err)).collect()
    }
}

fn take_points(result: &MetricDataResult, points: &mut Points) -> Result<(), PointsError> {
    let (times, values) = (result.timestamps().len(), result.values().len());
    if times != values {
        return Err(PointsError::Uneven { times, values });
    }
    for (at, value) in result.timestamps().iter().zip(result.values()) {
        let at = (*at).to_millis().map_err(|error| PointsError::Time(error.to_string()))?;
        points.insert(Timestamp::from_ms(at), *value);
    }
    Ok(())
}

/// Why a series is not all there; `None` when it is.
fn incomplete(result: &MetricDataResult) -> Option<SeriesError> {
    let status = result.status_code().map_or("no status", StatusCode::as_str);
    if status == "Complete" {
        return None;
    }
    let messages: Vec<&str> = result.messages().iter().filter_map(|message| message.value()).collect();
    let why = format!("{status} {}", messages.join("; "));
    Some(SeriesError::Incomplete { source_name: NAME, status: why.trim().chars().take(300).collect() })
}

fn data_query(index: usize, series: &CloudWatchSeries, period: i32) -> MetricDataQuery {
    let dimension = |(name, value): &(String, String)| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder()
        .namespace(&series.namespace)
        .metric_name(&series.name)
        .set_dimensions(Some(series.dimensions.iter().map(dimension).collect()))
        .build();
    let stat = MetricStat::builder().metric(metric).period(period).stat(&series.statistic).build();
    MetricDataQuery::builder().id(format!("m{index}")).metric_stat(stat).return_data(true).build()
}

/// A series as CloudWatch names it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CloudWatchSeries {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) dimensions: Vec<(String, String)>,
    pub(crate) statistic: String,
}

impl CloudWatchSeries {
    /// `None`: the source has no such series.
    ///
    /// * `own_function`: the name of the function that asks.
    fn of(query: &SeriesQuery, target: &MetricTarget, own_function: Option<&str>) -> Option<Self> {
        match query.source {
            SourceId::Pipeline => {
                let dimensions = vec![("FunctionName".to_owned(), own_function?.to_owned())];
                return Self::lambda(query.quantity, dimensions);
            }
            SourceId::Peer(index) => {
                let Peer { function, alias } = target.peers.get(usize::from(index))?;
                return Self::lambda(query.quantity, alias_dimensions(function, alias));
            }
            SourceId::Requests | SourceId::Errors | SourceId::Latency | SourceId::Transactions | SourceId::Front => {}
        }
        let version = match query.side {
            Scope::All => None,
            Scope::Baseline => Some(target.target.baseline()),
            Scope::Canary => Some(target.target.canary()),
        };
        match target.source(query.source) {
            None => match &target.target {
                Target::LambdaAlias(LambdaAlias { function, alias, .. }) => {
                    let mut dimensions = alias_dimensions(function, alias);
                    dimensions.extend(version.map(|version| ("ExecutedVersion".to_owned(), version.to_owned())));
                    Self::lambda(query.quantity, dimensions)
                }
                Target::TargetGroups(_) => None,
            },
            Some(Source::Custom { namespace, all, bad, client_errors, dimensions, version: dimension, .. }) => {
                let name = match query.quantity {
                    Quantity::Requests | Quantity::Attempts => all,
                    Quantity::Errors | Quantity::Failures => bad,
                    Quantity::ClientErrors => client_errors.as_ref()?,
                    Quantity::Latencies | Quantity::LatenciesUpTo(_) | Quantity::LatencyQuantile(_) => return None,
                };
                let mut dimensions: Vec<(String, String)> = dimensions.clone().into_iter().collect();
                dimensions.extend(dimension.clone().zip(version.map(str::to_owned)));
                Some(Self { namespace: namespace.clone(), name: name.clone(), dimensions, statistic: "Sum".to_owned() })
            }
            Some(Source::Api(api)) => Self::api(api, query.quantity),
        }
    }

    fn lambda(quantity: Quantity, dimensions: Vec<(String, String)>) -> Option<Self> {
        let (name, statistic) = match quantity {
            Quantity::Requests => ("Invocations", "Sum".to_owned()),
            Quantity::Errors => ("Errors", "Sum".to_owned()),
            Quantity::Latencies => ("Duration", "SampleCount".to_owned()),
            Quantity::LatenciesUpTo(ms) => ("Duration", format!("TC(:{ms:.4})")),
            Quantity::LatencyQuantile(permille) => ("Duration", format!("p{}", f64::from(permille) / 10.0)),
            Quantity::ClientErrors | Quantity::Attempts | Quantity::Failures => return None,
        };
        Some(Self { namespace: "AWS/Lambda".to_owned(), name: name.to_owned(), dimensions, statistic })
    }

    /// Count of an API Gateway is a number of samples, its error metrics are 0 or 1 for each request.
    fn api(api: &Api, quantity: Quantity) -> Option<Self> {
        let (namespace, [requests, server, client], dimensions) = match api {
            Api::Rest { name, stage, route } => (
                "AWS/ApiGateway",
                ["Count", "5XXError", "4XXError"],
                stage_dimensions("ApiName", name, stage, route.as_ref()),
            ),
            Api::Http { id, stage, route } => {
                ("AWS/ApiGateway", ["Count", "5xx", "4xx"], stage_dimensions("ApiId", id, stage, route.as_ref()))
            }
            Api::LoadBalancer { load_balancer, target_group } => (
                "AWS/ApplicationELB",
                ["RequestCount", "HTTPCode_Target_5XX_Count", "HTTPCode_Target_4XX_Count"],
                vec![
                    ("LoadBalancer".to_owned(), load_balancer.clone()),
                    ("TargetGroup".to_owned(), target_group.clone()),
                ],
            ),
        };
        let (name, statistic) = match (quantity, api) {
            (Quantity::Requests, Api::Rest { .. } | Api::Http { .. }) => (requests, "SampleCount"),
            (Quantity::Requests, Api::LoadBalancer { .. }) => (requests, "Sum"),
            (Quantity::Errors, _) => (server, "Sum"),
            (Quantity::ClientErrors, _) => (client, "Sum"),
            (
                Quantity::Latencies
                | Quantity::LatenciesUpTo(_)
                | Quantity::LatencyQuantile(_)
                | Quantity::Attempts
                | Quantity::Failures,
                _,
            ) => return None,
        };
        let statistic = statistic.to_owned();
        Some(Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions, statistic })
    }
}

/// A stage of an API, or a part of it.
fn stage_dimensions(api: &str, of: &str, stage: &str, route: Option<&Route>) -> Vec<(String, String)> {
    let mut dimensions = vec![(api, of), ("Stage", stage)];
    match route {
        Some(Route::Method { method, resource }) => {
            dimensions.extend([("Resource", resource.as_str()), ("Method", method)])
        }
        Some(Route::Named(route)) => dimensions.push(("Route", route)),
        None => {}
    }
    dimensions.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// All versions of a function that one alias called.
fn alias_dimensions(function: &str, alias: &str) -> Vec<(String, String)> {
    let resource = format!("{function}:{alias}");
    vec![("FunctionName".to_owned(), function.to_owned()), ("Resource".to_owned(), resource)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Service;
    use crate::fake_endpoint::{Asked, FakeEndpoint};
    use crate::fake_metrics::{AT_S, Cbor, error, page, result};
    use snapback_app::ports::CallErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn target() -> MetricTarget {
        let [function, alias, baseline, canary] = ["checkout", "live", "7", "8"].map(str::to_owned);
        let target = Target::LambdaAlias(LambdaAlias { function, alias, baseline, canary });
        let peers = vec![Peer { function: "stock".to_owned(), alias: "live".to_owned() }];
        MetricTarget { target, errors: None, transactions: None, front: None, peers }
    }

    fn custom(by_version: bool, client_errors: Option<&str>) -> Source {
        Source::Custom {
            namespace: "Shop".to_owned(),
            all: "Begun".to_owned(),
            bad: "Lost".to_owned(),
            client_errors: client_errors.map(str::to_owned),
            dimensions: [("Service".to_owned(), "checkout".to_owned())].into(),
            version: by_version.then(|| "Version".to_owned()),
            without_probes: true,
        }
    }

    fn apis() -> [Source; 3] {
        let (name, stage) = ("shop".to_owned(), "prod".to_owned());
        let (load_balancer, target_group) = ("app/a/1".to_owned(), "targetgroup/b/2".to_owned());
        [
            Source::Api(Api::Rest { name, stage: stage.clone(), route: None }),
            Source::Api(Api::Http { id: "a1b2".to_owned(), stage, route: None }),
            Source::Api(Api::LoadBalancer { load_balancer, target_group }),
        ]
    }

    /// Namespace, name, statistic and dimensions of a series whose sources are all this one.
    fn text_of(policy: Option<Source>, query: SeriesQuery) -> Option<String> {
        let target = MetricTarget { errors: policy.clone(), transactions: policy.clone(), front: policy, ..target() };
        CloudWatchSeries::of(&query, &target, Some("snapback-watcher")).map(|series| {
            let dimensions = series.dimensions.iter().map(|(name, value)| format!(" {name}={value}"));
            format!("{} {} {}{}", series.namespace, series.name, series.statistic, dimensions.collect::<String>())
        })
    }

    #[test]
    fn each_query_is_one_metric() {
        use Quantity::{Attempts, ClientErrors, Errors, Failures, Latencies, LatenciesUpTo, LatencyQuantile, Requests};
        use Scope::{All, Baseline, Canary};
        const LAMBDA: &str = "FunctionName=checkout Resource=checkout:live";
        let own = |side, quantity, source, expected: String| (None, side, quantity, source, Some(expected));
        let of = |policy: &Source, side, quantity, source, expected: Option<&str>| {
            (Some(policy.clone()), side, quantity, source, expected.map(str::to_owned))
        };
        let (split, whole) = (custom(true, Some("Refused")), custom(false, None));
        let (requests, errors) = (SourceId::Requests, SourceId::Errors);
        let table = [
            own(All, Requests, requests, format!("AWS/Lambda Invocations Sum {LAMBDA}")),
            own(Canary, Errors, requests, format!("AWS/Lambda Errors Sum {LAMBDA} ExecutedVersion=8")),
            own(
                Baseline,
                Latencies,
                SourceId::Latency,
                format!("AWS/Lambda Duration SampleCount {LAMBDA} ExecutedVersion=7"),
            ),
            own(
                Canary,
                LatenciesUpTo(279.169_9),
                SourceId::Latency,
                format!("AWS/Lambda Duration TC(:279.1699) {LAMBDA} ExecutedVersion=8"),
            ),
            own(All, LatencyQuantile(990), SourceId::Latency, format!("AWS/Lambda Duration p99 {LAMBDA}")),
            own(All, LatencyQuantile(125), SourceId::Latency, format!("AWS/Lambda Duration p12.5 {LAMBDA}")),
            own(
                All,
                Errors,
                SourceId::Peer(0),
                "AWS/Lambda Errors Sum FunctionName=stock Resource=stock:live".to_owned(),
            ),
            (None, All, Requests, SourceId::Peer(1), None),
            own(
                All,
                Requests,
                SourceId::Pipeline,
                "AWS/Lambda Invocations Sum FunctionName=snapback-watcher".to_owned(),
            ),
            (None, All, ClientErrors, requests, None),
            of(&split, Canary, Errors, errors, Some("Shop Lost Sum Service=checkout Version=8")),
            of(&split, Baseline, Requests, errors, Some("Shop Begun Sum Service=checkout Version=7")),
            of(&split, All, Requests, errors, Some("Shop Begun Sum Service=checkout")),
            of(&split, All, ClientErrors, errors, Some("Shop Refused Sum Service=checkout")),
            of(&split, All, Latencies, errors, None),
            of(&whole, Canary, Errors, errors, Some("Shop Lost Sum Service=checkout")),
            of(&whole, All, ClientErrors, errors, None),
            of(&split, Canary, Attempts, SourceId::Transactions, Some("Shop Begun Sum Service=checkout Version=8")),
            of(&split, Canary, Failures, SourceId::Transactions, Some("Shop Lost Sum Service=checkout Version=8")),
        ];
        for (policy, side, quantity, source, expected) in table {
            let text = text_of(policy, SeriesQuery { side, quantity, source });
            assert_eq!(text, expected, "{side:?} {quantity:?}");
        }
    }

    #[test]
    fn an_api_is_counted_as_a_stage_or_a_part_of_it() {
        use Quantity::{Attempts, ClientErrors, Errors, Requests};
        use Scope::All;
        let [rest, http, balancer] = apis();
        let (method, resource) = ("GET".to_owned(), "/cart".to_owned());
        let (name, stage) = ("shop".to_owned(), "prod".to_owned());
        let route = Some(Route::Method { method, resource });
        let by_method = Source::Api(Api::Rest { name, stage: stage.clone(), route });
        let route = Some(Route::Named("GET /cart".to_owned()));
        let by_route = Source::Api(Api::Http { id: "a1b2".to_owned(), stage, route });
        let errors = SourceId::Errors;
        let of = |policy: &Source, side, quantity, source, expected: Option<&str>| {
            (Some(policy.clone()), side, quantity, source, expected.map(str::to_owned))
        };
        let table = [
            of(&rest, All, Errors, errors, Some("AWS/ApiGateway 5XXError Sum ApiName=shop Stage=prod")),
            of(&rest, All, Requests, errors, Some("AWS/ApiGateway Count SampleCount ApiName=shop Stage=prod")),
            of(
                &by_method,
                All,
                Requests,
                SourceId::Front,
                Some("AWS/ApiGateway Count SampleCount ApiName=shop Stage=prod Resource=/cart Method=GET"),
            ),
            of(&by_route, All, Errors, errors, Some("AWS/ApiGateway 5xx Sum ApiId=a1b2 Stage=prod Route=GET /cart")),
            of(&http, All, ClientErrors, errors, Some("AWS/ApiGateway 4xx Sum ApiId=a1b2 Stage=prod")),
            of(&http, All, Attempts, errors, None),
            of(
                &balancer,
                All,
                Requests,
                errors,
                Some("AWS/ApplicationELB RequestCount Sum LoadBalancer=app/a/1 TargetGroup=targetgroup/b/2"),
            ),
        ];
        for (policy, side, quantity, source, expected) in table {
            let text = text_of(policy, SeriesQuery { side, quantity, source });
            assert_eq!(text, expected, "{side:?} {quantity:?}");
        }
    }

    #[tokio::test]
    async fn sources_are_what_the_policy_names() {
        let endpoint = FakeEndpoint::start_cbor(|_| page(vec![], None));
        let aws = endpoint.aws(&[Service::CloudWatch]);
        let profile = |errors: Option<Source>, source| {
            let profile = aws.profile(&MetricTarget { errors, ..target() }, source);
            (profile.is_split, profile.is_whole, profile.has_client_errors, profile.edges.map(|edges| edges.count()))
        };
        let [rest, _, balancer] = apis();
        assert_eq!(profile(None, SourceId::Requests), (true, false, false, None));
        assert_eq!(profile(None, SourceId::Latency), (true, false, false, Some(129)));
        assert_eq!(profile(Some(custom(true, None)), SourceId::Errors), (true, false, false, None));
        assert_eq!(profile(Some(custom(false, Some("Refused"))), SourceId::Errors), (false, false, true, None));
        assert_eq!(profile(Some(rest.clone()), SourceId::Errors), (false, true, true, None));
        let is_shared =
            |errors| aws.profile(&MetricTarget { errors: Some(errors), ..target() }, SourceId::Errors).is_shared;
        assert!(is_shared(rest), "a whole stage");
        assert!(!is_shared(balancer), "a target group");
    }

    #[test]
    fn only_a_complete_series_is_an_answer() {
        let result = |id: &str, status: &str, values: &[(i64, f64)]| {
            MetricDataResult::builder()
                .id(id)
                .status_code(StatusCode::from(status))
                .set_timestamps(Some(values.iter().map(|(at, _)| DateTime::from_millis(*at)).collect()))
                .set_values(Some(values.iter().map(|(_, value)| *value).collect()))
                .build()
        };
        let page = |token: Option<&str>, results: Vec<MetricDataResult>| {
            GetMetricDataOutput::builder()
                .set_next_token(token.map(str::to_owned))
                .set_metric_data_results(Some(results))
                .build()
        };
        let mut collected = Collected::new(4);
        let first = vec![
            result("m0", "PartialData", &[(0, 1.0)]),
            result("m1", "Complete", &[]),
            result("m3", "PartialData", &[(0, 1.0)]),
        ];
        collected.take_page(&page(Some("more"), first)).unwrap();
        collected.take_page(&page(None, vec![result("m0", "Complete", &[(60_000, 2.0)])])).unwrap();
        let answers = collected.answers();
        let points = answers[0].as_ref().unwrap();
        assert_eq!(points.values().copied().collect::<Vec<_>>(), [1.0, 2.0], "both pages");
        assert_eq!(answers[1], Ok(Points::new()), "no data is an answer");
        assert!(answers[2].is_err(), "silence is not");
        assert!(answers[3].is_err(), "half a series is not, also when the rest never came");
        for status in ["PartialData", "Forbidden", "InternalError", "Soon"] {
            let mut collected = Collected::new(1);
            collected.take_page(&page(None, vec![result("m0", status, &[(0, 1.0)])])).unwrap();
            assert!(collected.answers()[0].as_ref().unwrap_err().to_string().contains(status), "{status}");
        }
        let error = Collected::new(1).take_page(&page(None, vec![result("m7", "Complete", &[])]));
        assert_eq!(error, Err(PointsError::NotAsked("m7".to_owned())));
    }

    /// How often `text` is in a request.
    fn count(asked: &Asked, text: &str) -> usize {
        asked.body.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
    }

    fn window() -> Window {
        let from = Timestamp::from_ms(AT_S * 1000);
        Window { from, to: from + Duration::from_secs(120), period: Duration::from_secs(60) }
    }

    const REQUESTS: SeriesQuery =
        SeriesQuery { side: Scope::All, quantity: Quantity::Requests, source: SourceId::Requests };

    /// So many series, of a deployment for each three.
    async fn measure(aws: &Aws, many: usize) -> Result<Vec<SeriesResult>, CallError> {
        let (target, queries) = (target(), vec![REQUESTS; many]);
        let asked: Vec<TargetQueries<'_>> =
            queries.chunks(3).map(|queries| TargetQueries { target: &target, queries }).collect();
        let answers = aws.measure(window(), &asked).await?;
        assert!(answers.iter().map(Vec::len).eq(asked.iter().map(|asked| asked.queries.len())), "an answer to each");
        Ok(answers.into_iter().flatten().collect())
    }

    fn small(number: usize) -> f64 {
        f64::from(u16::try_from(number).unwrap())
    }

    fn values(answer: &SeriesResult) -> Vec<f64> {
        answer.as_ref().unwrap().values().copied().collect()
    }

    #[tokio::test]
    async fn five_hundred_series_are_one_call() {
        let endpoint = FakeEndpoint::start_cbor(|asked| {
            let results = 0..count(asked, "ReturnData");
            page(results.map(|index| result(&format!("m{index}"), "Complete", small(index), 0)).collect(), None)
        });
        let aws = endpoint.aws(&[Service::CloudWatch]);
        let nine_calls = [[500; CALLS_AT_ONCE].as_slice(), &[1]].concat();
        for (many, calls) in [(1, vec![1]), (500, vec![500]), (501, vec![500, 1]), (4_001, nine_calls)] {
            let before = endpoint.asked().len();
            let answers = measure(&aws, many).await.unwrap();
            let asked = endpoint.asked();
            // Calls are under way side by side, so they come in any order.
            let mut sizes: Vec<usize> = asked[before..].iter().map(|asked| count(asked, "ReturnData")).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(sizes, calls, "{many}");
            assert!(asked[before..].iter().all(|asked| asked.operation.ends_with("GetMetricData")), "{asked:?}");
            // Each call counts from 0 again: answers stay in the order of the queries.
            let seen: Vec<f64> = answers.iter().flat_map(values).collect();
            let expected: Vec<f64> = (0..many).map(|index| small(index % QUERIES_PER_CALL)).collect();
            assert_eq!(seen, expected, "{many}");
        }
        let before = endpoint.asked().len();
        assert!(measure(&aws, 0).await.unwrap().is_empty());
        assert_eq!(endpoint.asked().len(), before, "nothing asked, nothing called");
    }

    #[tokio::test]
    async fn pages_are_put_together_and_bounded() {
        let endpoint = FakeEndpoint::start_cbor(|asked| match (count(asked, "page2"), count(asked, "page3")) {
            (0, 0) => page(vec![result("m0", "PartialData", 1.0, 0), result("m1", "Complete", 7.0, 0)], Some("page2")),
            (_, 0) => page(vec![result("m0", "PartialData", 2.0, 1)], Some("page3")),
            (_, _) => page(vec![result("m0", "Complete", 3.0, 2), result("m2", "Forbidden", 4.0, 0)], Some("")),
        });
        let answers = measure(&endpoint.aws(&[Service::CloudWatch]), 3).await.unwrap();
        assert_eq!((values(&answers[0]), values(&answers[1])), (vec![1.0, 2.0, 3.0], vec![7.0]));
        let first = answers[0].as_ref().unwrap().keys().next().copied();
        assert_eq!(first, Some(Timestamp::from_ms(AT_S * 1000)));
        assert_eq!(
            answers[2],
            Err(SeriesError::Incomplete { source_name: NAME, status: "Forbidden".to_owned() }),
            "no permission for one series is no zero"
        );
        assert_eq!(endpoint.asked().len(), 3);

        let pages = AtomicUsize::new(0);
        let endless = FakeEndpoint::start_cbor(move |_| {
            let token = pages.fetch_add(1, Ordering::Relaxed).to_string();
            page(vec![result("m0", "PartialData", 1.0, 0)], Some(&token))
        });
        let error = measure(&endless.aws(&[Service::CloudWatch]), 1).await.unwrap_err();
        assert!(error.message.contains("more than 10 pages"), "{error}");
        assert_eq!(endless.asked().len(), MAX_PAGES);

        let circle = FakeEndpoint::start_cbor(|_| page(vec![result("m0", "PartialData", 1.0, 0)], Some("again")));
        let error = measure(&circle.aws(&[Service::CloudWatch]), 1).await.unwrap_err();
        assert!(error.message.contains("came twice"), "{error}");
        assert_eq!(circle.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_call_that_fails_is_no_answer() {
        let table = [
            (400, "ThrottlingException", CallErrorKind::Unreachable),
            (500, "InternalServiceFault", CallErrorKind::Unreachable),
            (403, "AccessDeniedException", CallErrorKind::Denied),
            (400, "InvalidParameterValueException", CallErrorKind::Invalid),
        ];
        for (status, code, expected) in table {
            let endpoint = FakeEndpoint::start_cbor(move |_| error(status, code));
            let error = measure(&endpoint.aws(&[Service::CloudWatch]), 2).await.unwrap_err();
            assert_eq!((error.kind, error.call), (expected, "cloudwatch:GetMetricData"), "{code}: {error}");
        }
        // The second of two calls fails: half an answer is none.
        let endpoint = FakeEndpoint::start_cbor(|asked| match count(asked, "ReturnData") {
            1 => error(403, "AccessDeniedException"),
            many => page((0..many).map(|index| result(&format!("m{index}"), "Complete", 1.0, 0)).collect(), None),
        });
        let error = measure(&endpoint.aws(&[Service::CloudWatch]), 501).await.unwrap_err();
        assert!(error.is(CallErrorKind::Denied), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_makes_no_sense_is_an_error() {
        let two_times = Cbor::Map(vec![
            ("Id", Cbor::text("m0")),
            ("StatusCode", Cbor::text("Complete")),
            ("Timestamps", Cbor::List(vec![Cbor::Time(0.0), Cbor::Time(60.0)])),
            ("Values", Cbor::List(vec![Cbor::Number(1.0)])),
        ]);
        let table = [
            (page(vec![two_times], None), "2 times and 1 values"),
            (page(vec![result("m1", "Complete", 1.0, 0)], None), "a result `m1` that was not asked for"),
            (page(vec![result("x", "Complete", 1.0, 0)], None), "a result `x` that was not asked for"),
        ];
        for (answer, expected) in table {
            let endpoint = FakeEndpoint::start_cbor(move |_| answer.clone());
            let error = measure(&endpoint.aws(&[Service::CloudWatch]), 1).await.unwrap_err();
            assert!(error.is(CallErrorKind::Invalid) && error.message.contains(expected), "{error}");
        }
    }
}
