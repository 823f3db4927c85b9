//! Identifiers: parsed once at the edge, trusted afterwards.

use std::fmt;

/// An identifier that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidId {
    /// What was found, at most 80 characters of it.
    pub text: String,
    /// What was expected, for example "a deployment id such as d-A1B2C3D4E".
    pub expected: &'static str,
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Parses and checks the text.
            ///
            /// # Errors
            /// When the text cannot be such an identifier.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text: String = text.into();
                let is_valid: fn(&str) -> bool = $valid;
                if is_valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { text: text.chars().take(80).collect(), expected: $expected })
                }
            }

            /// The text, unchanged.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

id!(
    /// A CodeDeploy deployment, `d-` and nine upper-case letters or digits.
    DeploymentId,
    "a deployment id such as d-A1B2C3D4E",
    |text| text.strip_prefix("d-").is_some_and(|rest| {
        rest.len() == 9 && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
);

id!(
    /// A CloudWatch alarm name: 1 to 255 characters, none of them a control character.
    AlarmName,
    "an alarm name of 1 to 255 characters",
    |text| (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control)
);

id!(
    /// The opaque id with which a lifecycle hook is answered; passed back unchanged.
    ExecutionId,
    "a lifecycle hook execution id of 1 to 4096 characters",
    |text| (1..=4096).contains(&text.len()) && !text.chars().any(char::is_control)
);

id!(
    /// Identity of what runs: for Lambda the SHA-256 (hex) of function ARN, CodeSha256 and published configuration.
    RevisionId,
    "a revision identity of 64 lower-case hexadecimal digits",
    |text| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
);

/// A deployment group: application and group name, written `application/group`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupRef {
    application: String,
    group: String,
}

impl GroupRef {
    /// Checks both names: 1 to 100 characters, no slash (it separates them), no control character.
    ///
    /// # Errors
    /// When a name breaks one of these rules.
    pub fn new(application: impl Into<String>, group: impl Into<String>) -> Result<Self, InvalidId> {
        let (application, group) = (application.into(), group.into());
        for name in [&application, &group] {
            let is_valid =
                (1..=100).contains(&name.chars().count()) && !name.chars().any(|c| c == '/' || c.is_control());
            if !is_valid {
                return Err(InvalidId {
                    text: name.chars().take(80).collect(),
                    expected: "a CodeDeploy application or group name of 1 to 100 characters without `/`",
                });
            }
        }
        Ok(Self { application, group })
    }

    /// Parses `application/group`.
    ///
    /// # Errors
    /// When there is no slash or a name is not valid.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let (application, group) = text.split_once('/').ok_or_else(|| InvalidId {
            text: text.chars().take(80).collect(),
            expected: "a deployment group written application/group",
        })?;
        Self::new(application, group)
    }

    /// CodeDeploy application name.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.application
    }

    /// Deployment group name.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }
}

impl fmt::Display for GroupRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.application, self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployment_ids() {
        for good in ["d-A1B2C3D4E", "d-000000000"] {
            assert!(DeploymentId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "d-", "d-a1b2c3d4e", "d-A1B2C3D4", "d-A1B2C3D4EF", "x-A1B2C3D4E", "d-A1B2C3D4É", "ecs-svc/123"]
        {
            assert!(DeploymentId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_split_at_the_slash() {
        let group = GroupRef::parse("shop/live").unwrap();
        assert_eq!((group.application(), group.group()), ("shop", "live"));
        assert_eq!(group.to_string(), "shop/live");
        for bad in ["shop", "/live", "shop/", "a/b/c"] {
            assert!(GroupRef::parse(bad).is_err(), "{bad}");
        }
    }
}
