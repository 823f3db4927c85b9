//! Something that a step says of the last deployment, or of a service that it names.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// `held`, or `{ service: payments, moment: held }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Of<T> {
    /// Name of the service; `None`: the only one, or that of the last deployment.
    pub service: Option<String>,
    /// What is said of it.
    pub what: T,
}

/// What can be said of a service.
pub(crate) trait Named {
    /// Its key where the service is named, for example `version`.
    const KEY: &'static str;
}

impl<'de, T: Deserialize<'de> + Named> Deserialize<'de> for Of<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfVisitor(PhantomData))
    }
}

struct OfVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Named> Visitor<'de> for OfVisitor<T> {
    type Value = Of<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a {0}, or {{ service: …, {0}: … }}", T::KEY)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Of<T>, E> {
        let what = T::deserialize(StrDeserializer::new(text))?;
        Ok(Of { service: None, what })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Of<T>, E> {
        let what = T::deserialize(number.into_deserializer())?;
        Ok(Of { service: None, what })
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Of<T>, E> {
        let what = T::deserialize(number.into_deserializer())?;
        Ok(Of { service: None, what })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Of<T>, A::Error> {
        let (mut service, mut what) = (None, None);
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "service" => service = Some(members.next_value()?),
                name if name == T::KEY => what = Some(members.next_value()?),
                unknown => {
                    return Err(A::Error::custom(format!(
                        "unknown key `{unknown}`, allowed are service and {}",
                        T::KEY
                    )));
                }
            }
        }
        let what = what.ok_or_else(|| A::Error::missing_field(T::KEY))?;
        Ok(Of { service, what })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Moment, Rate, Verb, Version};
    use super::*;

    #[test]
    fn a_service_may_be_named() {
        let held = |service: Option<&str>| Of { service: service.map(str::to_owned), what: Moment::Held };
        assert_eq!(serde_saphyr::from_str::<Of<Moment>>("held").unwrap(), held(None));
        assert_eq!(
            serde_saphyr::from_str::<Of<Moment>>("{service: payments, moment: held}").unwrap(),
            held(Some("payments"))
        );
        let bad = serde_saphyr::from_str::<Of<Version>>("{version: bad, service: payments}").unwrap();
        assert_eq!((bad.service.as_deref(), bad.what.0.as_str()), (Some("payments"), "bad"));
        for (text, service, rate) in
            [("0", None, 0.0), ("2.5", None, 2.5), ("{service: orders, rate: 3}", Some("orders"), 3.0)]
        {
            let load = serde_saphyr::from_str::<Of<Rate>>(text).unwrap();
            assert_eq!((load.service.as_deref(), load.what), (service, Rate(rate)), "{text}");
        }
        for (text, part) in
            [("{service: payments}", "verb"), ("{verb: promote, of: payments}", "`of`"), ("demote", "demote")]
        {
            let error = serde_saphyr::from_str::<Of<Verb>>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
