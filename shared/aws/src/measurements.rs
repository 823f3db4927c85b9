//! CloudWatch metrics: which series a measure is, and many of them in one GetMetricData.

use crate::Aws;
use crate::error::{call_error, not_understood};
use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy, StatusCode};
use aws_smithy_types::DateTime;
use futures_util::future::join_all;
use snapback_app::ports::{CallError, Measurements};
use snapback_core::Timestamp;
use snapback_core::ledger::{Answer, Points, Window};
use snapback_core::measure::{Api, ApiCount, Ask, Measure, Scope};

/// Queries that one GetMetricData takes.
pub const QUERIES_PER_CALL: usize = 500;
/// Calls that are under way at once.
pub const CALLS_AT_ONCE: usize = 8;
/// Pages of one GetMetricData that are read; more is an error.
pub const MAX_PAGES: usize = 10;

const GET: &str = "cloudwatch:GetMetricData";

impl Measurements for Aws {
    async fn measure(&self, window: Window, asks: &[Ask]) -> Result<Vec<Answer>, CallError> {
        let chunks: Vec<&[Ask]> = asks.chunks(QUERIES_PER_CALL).collect();
        let mut answers = Vec::with_capacity(asks.len());
        // A thousand deployments are thirty calls: one after the other they would outlast a tick.
        for chunks in chunks.chunks(CALLS_AT_ONCE) {
            for some in join_all(chunks.iter().map(|asks| self.measure_some(window, asks))).await {
                answers.extend(some?);
            }
        }
        Ok(answers)
    }
}

impl Aws {
    async fn measure_some(&self, window: Window, asks: &[Ask]) -> Result<Vec<Answer>, CallError> {
        let on = || asks.first().map(|ask| ask.function.clone()).unwrap_or_default();
        let period = i32::try_from(window.period.as_secs()).unwrap_or(60);
        let queries: Vec<MetricDataQuery> =
            asks.iter().enumerate().map(|(index, ask)| query(index, ask, period)).collect();
        let mut collected = Collected::new(asks.len());
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let request = self.cloudwatch.get_metric_data();
            let request = request
                .set_metric_data_queries(Some(queries.clone()))
                .start_time(DateTime::from_millis(window.from.ms()))
                .end_time(DateTime::from_millis(window.to.ms()))
                .scan_by(ScanBy::TimestampAscending)
                .set_next_token(token);
            let answer = request.send().await.map_err(|error| call_error(GET, on(), &error))?;
            collected.take_page(&answer).map_err(|what| not_understood(GET, on(), what))?;
            token = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(collected.answers());
            }
        }
        Err(not_understood(GET, on(), format!("more than {MAX_PAGES} pages")))
    }
}

/// Series over all pages, each with why it is not all there as its last page tells.
struct Collected(Vec<(Points, Option<String>)>);

impl Collected {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| (Points::new(), Some("CloudWatch did not answer for it".to_owned()))).collect())
    }

    /// A series may be partial on one page and complete on the next.
    fn take_page(&mut self, page: &GetMetricDataOutput) -> Result<(), String> {
        for result in page.metric_data_results() {
            let id = result.id().unwrap_or_default();
            let index = id.strip_prefix('m').and_then(|digits| digits.parse::<usize>().ok());
            let series = index.and_then(|index| self.0.get_mut(index));
            let (points, why) = series.ok_or_else(|| format!("a result `{id}` that was not asked for"))?;
            take_points(result, points)?;
            *why = incomplete(result);
        }
        Ok(())
    }

    fn answers(self) -> Vec<Answer> {
        self.0.into_iter().map(|(points, why)| why.map_or(Ok(points), Err)).collect()
    }
}

fn take_points(result: &MetricDataResult, points: &mut Points) -> Result<(), String> {
    if result.timestamps().len() != result.values().len() {
        return Err(format!("{} times and {} values", result.timestamps().len(), result.values().len()));
    }
    for (at, value) in result.timestamps().iter().zip(result.values()) {
        let at = (*at).to_millis().map_err(|error| error.to_string())?;
        points.insert(Timestamp::from_ms(at), *value);
    }
    Ok(())
}

/// Why a series is not all there; `None` when it is.
fn incomplete(result: &MetricDataResult) -> Option<String> {
    let status = result.status_code().map_or("no status", StatusCode::as_str);
    if status == "Complete" {
        return None;
    }
    let messages: Vec<&str> = result.messages().iter().filter_map(|message| message.value()).collect();
    let why = format!("CloudWatch says {status} {}", messages.join("; "));
    Some(why.trim().chars().take(300).collect())
}

fn query(index: usize, ask: &Ask, period: i32) -> MetricDataQuery {
    let series = Series::of(ask);
    let metric = Metric::builder()
        .namespace(series.namespace)
        .metric_name(series.name)
        .set_dimensions(Some(
            series
                .dimensions
                .into_iter()
                .map(|(name, value)| Dimension::builder().name(name).value(value).build())
                .collect(),
        ))
        .build();
    let stat = MetricStat::builder().metric(metric).period(period).stat(series.statistic).build();
    MetricDataQuery::builder().id(format!("m{index}")).metric_stat(stat).return_data(true).build()
}

/// A metric as CloudWatch names it.
#[derive(Debug, PartialEq)]
struct Series {
    namespace: String,
    name: String,
    dimensions: Vec<(String, String)>,
    statistic: String,
}

impl Series {
    fn of(ask: &Ask) -> Self {
        match &ask.measure {
            Measure::Invocations => Self::lambda(ask, "Invocations", "Sum".to_owned()),
            Measure::FunctionErrors => Self::lambda(ask, "Errors", "Sum".to_owned()),
            Measure::Durations => Self::lambda(ask, "Duration", "SampleCount".to_owned()),
            Measure::DurationsUpTo(ms) => Self::lambda(ask, "Duration", format!("TC(:{ms:.4})")),
            Measure::DurationPercentile(percent) => Self::lambda(ask, "Duration", format!("p{percent}")),
            Measure::Custom(custom) => {
                let mut dimensions: Vec<(String, String)> = custom.dimensions.clone().into_iter().collect();
                if let (Some(name), Scope::Version(version)) = (&custom.version, &ask.scope) {
                    dimensions.push((name.clone(), version.clone()));
                }
                Self {
                    namespace: custom.namespace.clone(),
                    name: custom.name.clone(),
                    dimensions,
                    statistic: "Sum".to_owned(),
                }
            }
            Measure::Api(api, count) => Self::api(api, *count),
        }
    }

    fn lambda(ask: &Ask, name: &str, statistic: String) -> Self {
        let mut dimensions = vec![
            ("FunctionName".to_owned(), ask.function.clone()),
            ("Resource".to_owned(), format!("{}:{}", ask.function, ask.alias)),
        ];
        if let Scope::Version(version) = &ask.scope {
            dimensions.push(("ExecutedVersion".to_owned(), version.clone()));
        }
        Self { namespace: "AWS/Lambda".to_owned(), name: name.to_owned(), dimensions, statistic }
    }

    /// Count of an API Gateway is a number of samples, its error metrics are 0 or 1 for each request.
    fn api(api: &Api, count: ApiCount) -> Self {
        let (namespace, names, dimensions) = match api {
            Api::Rest { name, stage } => (
                "AWS/ApiGateway",
                ["Count", "5XXError", "4XXError"],
                vec![("ApiName".to_owned(), name.clone()), ("Stage".to_owned(), stage.clone())],
            ),
            Api::Http { id, stage } => (
                "AWS/ApiGateway",
                ["Count", "5xx", "4xx"],
                vec![("ApiId".to_owned(), id.clone()), ("Stage".to_owned(), stage.clone())],
            ),
            Api::LoadBalancer { load_balancer, target_group } => (
                "AWS/ApplicationELB",
                ["RequestCount", "HTTPCode_Target_5XX_Count", "HTTPCode_Target_4XX_Count"],
                vec![
                    ("LoadBalancer".to_owned(), load_balancer.clone()),
                    ("TargetGroup".to_owned(), target_group.clone()),
                ],
            ),
        };
        let [requests, server, client] = names;
        let (name, statistic) = match (count, api) {
            (ApiCount::Requests, Api::Rest { .. } | Api::Http { .. }) => (requests, "SampleCount"),
            (ApiCount::Requests, Api::LoadBalancer { .. }) => (requests, "Sum"),
            (ApiCount::ServerErrors, _) => (server, "Sum"),
            (ApiCount::ClientErrors, _) => (client, "Sum"),
        };
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions, statistic: statistic.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Service;
    use crate::fake_endpoint::{Asked, FakeEndpoint};
    use snapback_app::ports::CallErrorKind;
    use snapback_core::measure::CustomSeries;
    use std::time::Duration;

    fn ask(scope: Scope, measure: Measure) -> Ask {
        Ask { function: "checkout".to_owned(), alias: "live".to_owned(), scope, measure }
    }

    fn version(number: &str) -> Scope {
        Scope::Version(number.to_owned())
    }

    #[test]
    fn each_measure_is_one_series() {
        let custom = |by_version: bool| {
            Measure::Custom(CustomSeries {
                namespace: "Shop".to_owned(),
                name: "Paid".to_owned(),
                dimensions: [("Service".to_owned(), "checkout".to_owned())].into(),
                version: by_version.then(|| "Version".to_owned()),
            })
        };
        let rest = Api::Rest { name: "shop".to_owned(), stage: "prod".to_owned() };
        let balancer =
            Api::LoadBalancer { load_balancer: "app/a/1".to_owned(), target_group: "targetgroup/b/2".to_owned() };
        // (ask, namespace, name, statistic, dimensions)
        let table = [
            (
                ask(Scope::Alias, Measure::Invocations),
                "AWS/Lambda Invocations Sum FunctionName=checkout Resource=checkout:live",
            ),
            (
                ask(version("8"), Measure::FunctionErrors),
                "AWS/Lambda Errors Sum FunctionName=checkout Resource=checkout:live ExecutedVersion=8",
            ),
            (
                ask(version("8"), Measure::DurationsUpTo(279.169_9)),
                "AWS/Lambda Duration TC(:279.1699) FunctionName=checkout Resource=checkout:live ExecutedVersion=8",
            ),
            (
                ask(Scope::Alias, Measure::DurationPercentile(99)),
                "AWS/Lambda Duration p99 FunctionName=checkout Resource=checkout:live",
            ),
            (ask(version("8"), custom(true)), "Shop Paid Sum Service=checkout Version=8"),
            (ask(Scope::Alias, custom(true)), "Shop Paid Sum Service=checkout"),
            (ask(version("8"), custom(false)), "Shop Paid Sum Service=checkout"),
            (
                ask(Scope::Alias, Measure::Api(rest.clone(), ApiCount::ServerErrors)),
                "AWS/ApiGateway 5XXError Sum ApiName=shop Stage=prod",
            ),
            (
                ask(Scope::Alias, Measure::Api(rest, ApiCount::Requests)),
                "AWS/ApiGateway Count SampleCount ApiName=shop Stage=prod",
            ),
            (
                ask(Scope::Alias, Measure::Api(balancer, ApiCount::Requests)),
                "AWS/ApplicationELB RequestCount Sum LoadBalancer=app/a/1 TargetGroup=targetgroup/b/2",
            ),
        ];
        for (ask, expected) in table {
            let series = Series::of(&ask);
            let dimensions: String = series.dimensions.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            let text = format!("{} {} {}{dimensions}", series.namespace, series.name, series.statistic);
            assert_eq!(text, expected);
        }
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
            assert!(collected.answers()[0].as_ref().unwrap_err().contains(status), "{status}");
        }
        let error = Collected::new(1).take_page(&page(None, vec![result("m7", "Complete", &[])])).unwrap_err();
        assert!(error.contains("`m7`"), "{error}");
    }

    /// CBOR as far as an answer needs it.
    enum Cbor {
        Text(String),
        Number(f64),
        /// Epoch seconds.
        Time(f64),
        List(Vec<Cbor>),
        Map(Vec<(&'static str, Cbor)>),
    }

    impl Cbor {
        fn text(text: &str) -> Self {
            Self::Text(text.to_owned())
        }

        fn bytes(&self) -> Vec<u8> {
            let head = |kind: u8, length: usize| match u8::try_from(length) {
                Ok(length @ ..24) => vec![kind << 5 | length],
                Ok(length) => vec![kind << 5 | 24, length],
                Err(_) => [&[kind << 5 | 25][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
            };
            match self {
                Self::Text(text) => [head(3, text.len()), text.as_bytes().to_vec()].concat(),
                Self::Number(number) => [&[0xfb][..], &number.to_be_bytes()].concat(),
                Self::Time(seconds) => [vec![0xc1], Self::Number(*seconds).bytes()].concat(),
                Self::List(list) => {
                    let items = list.iter().flat_map(Self::bytes);
                    head(4, list.len()).into_iter().chain(items).collect()
                }
                Self::Map(map) => {
                    let members =
                        map.iter().flat_map(|(name, value)| [Self::text(name).bytes(), value.bytes()].concat());
                    head(5, map.len()).into_iter().chain(members).collect()
                }
            }
        }
    }

    const AT_S: i64 = 1_795_169_700;

    /// One result of a page: a value `number` in the minute at [`AT_S`] and `minutes` later.
    fn result(id: &str, status: &str, number: f64, minutes: i32) -> Cbor {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let at = AT_S as f64 + 60.0 * f64::from(minutes);
        Cbor::Map(vec![
            ("Id", Cbor::text(id)),
            ("Label", Cbor::text("Invocations")),
            ("StatusCode", Cbor::text(status)),
            ("Timestamps", Cbor::List(vec![Cbor::Time(at)])),
            ("Values", Cbor::List(vec![Cbor::Number(number)])),
        ])
    }

    fn page(results: Vec<Cbor>, next: Option<&str>) -> (u16, Vec<u8>) {
        let mut members = vec![("MetricDataResults", Cbor::List(results))];
        members.extend(next.map(|token| ("NextToken", Cbor::text(token))));
        (200, Cbor::Map(members).bytes())
    }

    fn error(status: u16, code: &str) -> (u16, Vec<u8>) {
        let kind = format!("com.amazonaws.cloudwatch#{code}");
        (status, Cbor::Map(vec![("__type", Cbor::Text(kind)), ("message", Cbor::text("not now"))]).bytes())
    }

    /// How often `text` is in a request.
    fn count(asked: &Asked, text: &str) -> usize {
        asked.body.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
    }

    fn window() -> Window {
        let from = Timestamp::from_ms(AT_S * 1000);
        Window { from, to: from + Duration::from_secs(120), period: Duration::from_secs(60) }
    }

    fn asks(many: usize) -> Vec<Ask> {
        (0..many).map(|number| ask(version(&number.to_string()), Measure::Invocations)).collect()
    }

    fn small(number: usize) -> f64 {
        f64::from(u16::try_from(number).unwrap())
    }

    fn values(answer: &Answer) -> Vec<f64> {
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
            let answers = aws.measure(window(), &asks(many)).await.unwrap();
            let asked = endpoint.asked();
            // Calls are under way side by side, so they come in any order.
            let mut sizes: Vec<usize> = asked[before..].iter().map(|asked| count(asked, "ReturnData")).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(sizes, calls, "{many}");
            assert!(asked[before..].iter().all(|asked| asked.operation.ends_with("GetMetricData")), "{asked:?}");
            // Each call counts from 0 again: answers stay in the order of the asks.
            let seen: Vec<f64> = answers.iter().flat_map(values).collect();
            let expected: Vec<f64> = (0..many).map(|index| small(index % QUERIES_PER_CALL)).collect();
            assert_eq!(seen, expected, "{many}");
        }
        let before = endpoint.asked().len();
        assert!(aws.measure(window(), &[]).await.unwrap().is_empty());
        assert_eq!(endpoint.asked().len(), before, "nothing asked, nothing called");
    }

    #[tokio::test]
    async fn pages_are_put_together_and_bounded() {
        let endpoint = FakeEndpoint::start_cbor(|asked| match (count(asked, "page2"), count(asked, "page3")) {
            (0, 0) => page(vec![result("m0", "PartialData", 1.0, 0), result("m1", "Complete", 7.0, 0)], Some("page2")),
            (_, 0) => page(vec![result("m0", "PartialData", 2.0, 1)], Some("page3")),
            (_, _) => page(vec![result("m0", "Complete", 3.0, 2), result("m2", "Forbidden", 4.0, 0)], Some("")),
        });
        let answers = endpoint.aws(&[Service::CloudWatch]).measure(window(), &asks(3)).await.unwrap();
        assert_eq!((values(&answers[0]), values(&answers[1])), (vec![1.0, 2.0, 3.0], vec![7.0]));
        let first = answers[0].as_ref().unwrap().keys().next().copied();
        assert_eq!(first, Some(Timestamp::from_ms(AT_S * 1000)));
        assert_eq!(answers[2], Err("CloudWatch says Forbidden".to_owned()), "no permission for one series is no zero");
        assert_eq!(endpoint.asked().len(), 3);

        let endless = FakeEndpoint::start_cbor(|_| page(vec![result("m0", "PartialData", 1.0, 0)], Some("again")));
        let error = endless.aws(&[Service::CloudWatch]).measure(window(), &asks(1)).await.unwrap_err();
        assert!(error.message.contains("more than 10 pages"), "{error}");
        assert_eq!(endless.asked().len(), MAX_PAGES);
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
            let error = endpoint.aws(&[Service::CloudWatch]).measure(window(), &asks(2)).await.unwrap_err();
            assert_eq!((error.kind, error.call), (expected, "cloudwatch:GetMetricData"), "{code}: {error}");
        }
        // The second of two calls fails: half an answer is none.
        let endpoint = FakeEndpoint::start_cbor(|asked| match count(asked, "ReturnData") {
            1 => error(403, "AccessDeniedException"),
            many => page((0..many).map(|index| result(&format!("m{index}"), "Complete", 1.0, 0)).collect(), None),
        });
        let error = endpoint.aws(&[Service::CloudWatch]).measure(window(), &asks(501)).await.unwrap_err();
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
            let error = endpoint.aws(&[Service::CloudWatch]).measure(window(), &asks(1)).await.unwrap_err();
            assert!(error.is(CallErrorKind::Invalid) && error.message.contains(expected), "{error}");
        }
    }
}
