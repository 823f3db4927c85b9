//! Answers of GetMetricData for tests, in CBOR as CloudWatch writes it.

/// CBOR as far as an answer needs it.
#[derive(Clone)]
pub(crate) enum Cbor {
    Text(String),
    Number(f64),
    /// Epoch seconds.
    Time(f64),
    List(Vec<Cbor>),
    Map(Vec<(&'static str, Cbor)>),
}

impl Cbor {
    pub(crate) fn text(text: &str) -> Self {
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
                let members = map.iter().flat_map(|(name, value)| [Self::text(name).bytes(), value.bytes()].concat());
                head(5, map.len()).into_iter().chain(members).collect()
            }
        }
    }
}

/// Epoch seconds of the first minute.
pub(crate) const AT_S: i64 = 1_795_169_700;

/// One result of a page: a value `number` in the minute at [`AT_S`] and `minutes` later.
pub(crate) fn result(id: &str, status: &str, number: f64, minutes: i32) -> Cbor {
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

/// A whole result without data.
pub(crate) fn none(id: &str) -> Cbor {
    Cbor::Map(vec![
        ("Id", Cbor::text(id)),
        ("StatusCode", Cbor::text("Complete")),
        ("Timestamps", Cbor::List(vec![])),
        ("Values", Cbor::List(vec![])),
    ])
}

/// One page of GetMetricData.
pub(crate) fn page(results: Vec<Cbor>, next: Option<&str>) -> (u16, Vec<u8>) {
    let mut members = vec![("MetricDataResults", Cbor::List(results))];
    members.extend(next.map(|token| ("NextToken", Cbor::text(token))));
    (200, Cbor::Map(members).bytes())
}

/// A fault of CloudWatch.
pub(crate) fn error(status: u16, code: &str) -> (u16, Vec<u8>) {
    let kind = format!("com.amazonaws.cloudwatch#{code}");
    (status, Cbor::Map(vec![("__type", Cbor::Text(kind)), ("message", Cbor::text("not now"))]).bytes())
}
