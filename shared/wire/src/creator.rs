//! Words for who made a deployment. The record keeps CodeDeploy's, so one table reads the answers of AWS and the record.

use snapback_core::observed::Creator;

/// From its word; an unknown one is kept as it is.
///
/// Source: CodeDeploy's API reference, `creator` of DeploymentInfo.
#[must_use]
pub fn parse_creator(word: &str) -> Creator {
    match word {
        "user" => Creator::User,
        "autoscaling" => Creator::Autoscaling,
        "codeDeployRollback" => Creator::PlatformRollback,
        "CodeDeploy" => Creator::Platform,
        "CodeDeployAutoUpdate" => Creator::PlatformUpdate,
        other => Creator::Other(other.to_owned()),
    }
}

/// Its word.
#[must_use]
pub fn creator_word(creator: &Creator) -> &str {
    match creator {
        Creator::User => "user",
        Creator::Autoscaling => "autoscaling",
        Creator::PlatformRollback => "codeDeployRollback",
        Creator::Platform => "CodeDeploy",
        Creator::PlatformUpdate => "CodeDeployAutoUpdate",
        Creator::Other(word) => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_back_as_it_was() {
        for word in ["user", "autoscaling", "codeDeployRollback", "CodeDeploy", "CodeDeployAutoUpdate", "", "robot"] {
            let creator = parse_creator(word);
            assert_eq!(creator_word(&creator), word);
            assert_eq!(matches!(creator, Creator::Other(_)), ["", "robot"].contains(&word), "{word}");
        }
    }
}
