//! Names of policy parameters: `<prefix>/<application>/<group>`.

use snapback_core::GroupRef;
use std::fmt::Write;

/// Where policies are unless the environment says otherwise.
pub const DEFAULT_PREFIX: &str = "/snapback/policy";

/// A parameter name that is no policy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "parameter `{name}` is no policy: {why}; policies are named {prefix}/<application>/<group>, see `snapback policy push`"
)]
pub struct ParameterNameError {
    /// The name.
    pub name: String,
    /// The prefix that was expected.
    pub prefix: String,
    /// What is wrong.
    pub why: &'static str,
}

/// Name of the parameter with the policy of `group`.
///
/// * `prefix`: without a slash at its end, for example [`DEFAULT_PREFIX`].
/// * Every byte (UTF-8) of a name that is not a letter, digit, `.` or `-` becomes `_` and two hexadecimal digits, `_` itself too.
#[must_use]
pub fn parameter_name(prefix: &str, group: &GroupRef) -> String {
    format!("{prefix}/{}/{}", escape(group.application()), escape(group.group()))
}

/// The group whose policy the parameter holds: the inverse of [`parameter_name`].
///
/// # Errors
/// When the name has another prefix or form, or is not as [`parameter_name`] writes it.
pub fn group_of_parameter(prefix: &str, name: &str) -> Result<GroupRef, ParameterNameError> {
    let error = |why| ParameterNameError { name: crate::reader::quote(name), prefix: prefix.to_owned(), why };
    let rest = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| error("it has another prefix"))?;
    let (application, group) = rest.split_once('/').ok_or_else(|| error("it has no group"))?;
    let unescaped = |text| unescape(text).ok_or_else(|| error("it has characters or escapes that are never written"));
    let group = GroupRef::new(unescaped(application)?, unescaped(group)?)
        .map_err(|_| error("its application or group cannot be one"))?;
    if parameter_name(prefix, &group) == name { Ok(group) } else { Err(error("it escapes what needs no escape")) }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
}

/// `text` with every other byte as `_xx`.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "_{byte:02x}");
        }
        escaped
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'_' {
            let hex = [bytes.next()?, bytes.next()?];
            let hex = std::str::from_utf8(&hex).ok()?;
            plain.push(u8::from_str_radix(hex, 16).ok()?);
        } else if is_plain(byte) {
            plain.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let group = GroupRef::new("shop_eu", "live dg-1.2").unwrap();
        let name = parameter_name(DEFAULT_PREFIX, &group);
        assert_eq!(name, "/snapback/policy/shop_5feu/live_20dg-1.2");
        assert_eq!(group_of_parameter(DEFAULT_PREFIX, &name), Ok(group));
    }

    #[test]
    fn other_names_are_refused() {
        let table = [
            ("/other/shop/live", "another prefix"),
            ("/snapback/policyshop/live", "another prefix"),
            ("/snapback/policy/shop", "no group"),
            ("/snapback/policy/shop/a/b", "never written"),
            ("/snapback/policy/shop/a_b", "never written"),
            ("/snapback/policy/shop/a_zz", "never written"),
            ("/snapback/policy/shop/a_", "never written"),
            ("/snapback/policy/shop/_ff", "never written"),
            ("/snapback/policy/shop/_41", "needs no escape"),
            ("/snapback/policy/shop/_5F", "needs no escape"),
            ("/snapback/policy/shop/_2f", "cannot be one"),
            ("/snapback/policy//live", "cannot be one"),
        ];
        for (name, why) in table {
            let error = group_of_parameter(DEFAULT_PREFIX, name).unwrap_err();
            assert!(error.to_string().contains(why), "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn every_group_has_one_name(application in "[^/\\p{Cc}]{1,30}", group in "[^/\\p{Cc}]{1,30}") {
            let group = GroupRef::new(application, group).unwrap();
            let name = parameter_name("/p", &group);
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte)));
            prop_assert_eq!(group_of_parameter("/p", &name), Ok(group));
        }

        #[test]
        fn no_name_panics(name in ".{0,60}") {
            if let Ok(group) = group_of_parameter("/p", &format!("/p/{name}")) {
                prop_assert_eq!(parameter_name("/p", &group), format!("/p/{name}"));
            }
        }
    }
}
