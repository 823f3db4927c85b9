//! Finds configuration that can never work: in templates of CloudFormation and SAM, and in what is known of a live deployment
//! group. Pure: text and facts in, findings out.
//!
//! What cannot be known before a stack is made (a parameter without default, an import) is never reported.
#![warn(missing_docs)]

mod configs;
mod facts;
mod finding;
pub mod live;
mod metrics;
mod permissions;
mod routes;
mod rules;
mod sarif;
mod template;
mod words;

pub use finding::{Diagnosis, Report, Severity};
pub use routes::{ApiKind, DeclaredRoute, declared_routes};
pub use rules::{Rule, rules};
pub use sarif::{Source, sarif};
pub use template::TemplateError;

/// All findings about a template of CloudFormation or SAM, in YAML or JSON.
///
/// # Errors
/// When it cannot be read, or is no template: with the line.
pub fn examine_template(text: &str) -> Result<Report, TemplateError> {
    let template = template::Template::parse(text)?;
    Ok(rules::check(&facts::Facts::of(&template)))
}
