//! Names, ids, ARNs and times as Lambda writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::parts::{ACCOUNT, REGION};

/// Version name of the unpublished version.
pub(super) const LATEST: &str = "$LATEST";

/// Whom a caller means: a function's name and what came after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FunctionRef {
    pub(super) name: String,
    /// Version, alias or `$LATEST`.
    pub(super) qualifier: Option<String>,
}

impl FunctionRef {
    /// Reads a name, an ARN or a partial ARN (`ACCOUNT:function:NAME`), each with or without qualifier. Anything else is
    /// taken as a name, which then does not exist.
    pub(super) fn parse(text: &str) -> Self {
        let after_function = text.split_once(":function:").map(|(_, rest)| rest);
        let rest = after_function.or_else(|| text.strip_prefix("function:")).unwrap_or(text);
        match rest.split_once(':') {
            Some((name, qualifier)) => Self { name: name.to_owned(), qualifier: Some(qualifier.to_owned()) },
            None => Self { name: rest.to_owned(), qualifier: None },
        }
    }

    /// This reference with the qualifier given elsewhere, when it has none of its own.
    pub(super) fn or_qualifier(mut self, qualifier: Option<&str>) -> Self {
        self.qualifier = self.qualifier.or_else(|| qualifier.map(str::to_owned));
        self
    }
}

/// ARN of a function, with `:QUALIFIER` when there is one.
pub(super) fn qualified_arn(name: &str, qualifier: Option<&str>) -> String {
    let suffix = qualifier.map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}{suffix}")
}

/// A random (version 4) UUID: request, invocation and revision ids.
pub(super) fn uuid() -> String {
    let mut rng = fastrand::Rng::new();
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        rng.u32(..),
        rng.u16(..),
        rng.u16(..0x1000),
        rng.u16(0x8000..0xc000),
        rng.u64(..0x1_0000_0000_0000),
    )
}

/// An X-Ray trace header, not sampled.
pub(super) fn trace_id(now_ms: i64) -> String {
    let mut rng = fastrand::Rng::new();
    let random = rng.u128(..) >> 32;
    format!("Root=1-{:08x}-{random:024x};Parent={:016x};Sampled=0", now_ms / 1000, rng.u64(..))
}

/// `ms` since 1970 as `2026-11-20T10:46:59.079` followed by `zone`, which must be a way to write UTC.
pub(super) fn timestamp(ms: i64, zone: &str) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    format!("{}{zone}", time.strftime("%Y-%m-%dT%H:%M:%S%.3f"))
}

/// Base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The text that `encoded` stands for, or `None` when it is not base64 of UTF-8.
pub(super) fn text_of_base64(encoded: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_function() {
        let table = [
            ("checkout", "checkout", None),
            ("checkout:live", "checkout", Some("live")),
            ("arn:aws:lambda:us-east-1:123456789012:function:checkout", "checkout", None),
            ("arn:aws:lambda:us-east-1:123456789012:function:checkout:$LATEST", "checkout", Some("$LATEST")),
            ("123456789012:function:checkout:7", "checkout", Some("7")),
            ("function:checkout", "checkout", None),
            ("", "", None),
        ];
        for (text, name, qualifier) in table {
            let expected = FunctionRef { name: name.to_owned(), qualifier: qualifier.map(str::to_owned) };
            assert_eq!(FunctionRef::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn ids_and_times_look_like_lambdas() {
        assert_eq!(timestamp(1_795_171_619_079, "+0000"), "2026-11-20T10:46:59.079+0000");
        let id = uuid();
        let shape: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(shape, [8, 4, 4, 4, 12], "{id}");
        assert_ne!(uuid(), id);
        assert!(trace_id(1_795_171_619_079).starts_with("Root=1-6b002523-"), "{}", trace_id(1_795_171_619_079));
    }
}
