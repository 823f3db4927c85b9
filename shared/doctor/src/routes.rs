//! The routes by which a template's functions are called: what may stand in front of a service.

use snapback_template::{Node, Template, TemplateError};

/// Which kind of API has a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKind {
    /// API Gateway, REST.
    Rest,
    /// API Gateway, HTTP.
    Http,
}

/// A route that a function of a SAM template declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredRoute {
    /// Logical id of the function.
    pub function: String,
    /// Kind of its API.
    pub kind: ApiKind,
    /// HTTP method in capitals, or `ANY`.
    pub method: String,
    /// Path, for example `/cart/{id}`.
    pub path: String,
}

/// The routes that functions of a SAM template declare as events, in the order of the template. What is not written out is left
/// out.
///
/// # Errors
/// When the text is no template.
pub fn declared_routes(template: &str) -> Result<Vec<DeclaredRoute>, TemplateError> {
    let template = Template::parse(template)?;
    let functions = template.document().get("Resources").map(Node::members).unwrap_or_default().iter();
    let of = |resource: &snapback_template::Member| {
        let is_function = resource.value.get("Type").and_then(Node::known) == Some("AWS::Serverless::Function");
        let events = resource.value.find(&["Properties", "Events"]).filter(|_| is_function);
        let events = events.map(Node::members).unwrap_or_default().iter();
        events.filter_map(|event| route(&resource.name, &event.value)).collect::<Vec<_>>()
    };
    Ok(functions.flat_map(of).collect())
}

fn route(function: &str, event: &Node) -> Option<DeclaredRoute> {
    let kind = match event.get("Type").and_then(Node::known)? {
        "Api" => ApiKind::Rest,
        "HttpApi" => ApiKind::Http,
        _ => return None,
    };
    let text = |name| event.find(&["Properties", name]).and_then(Node::known);
    let method = text("Method")?.to_ascii_uppercase();
    Some(DeclaredRoute { function: function.to_owned(), kind, method, path: text("Path")?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "
Resources:
  Cart:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        Read: { Type: Api, Properties: { Path: '/cart/{id}', Method: get } }
        Queue: { Type: SQS, Properties: { Queue: arn } }
        Any: { Type: HttpApi, Properties: { Path: /cart, Method: any } }
        Default: { Type: HttpApi }
  Table:
    Type: AWS::DynamoDB::Table
    Properties: { Events: { Read: { Type: Api, Properties: { Path: /no, Method: get } } } }
";

    #[test]
    fn routes_are_those_of_functions_that_are_written_out() {
        let route = |kind, method: &str, path: &str| DeclaredRoute {
            function: "Cart".to_owned(),
            kind,
            method: method.to_owned(),
            path: path.to_owned(),
        };
        let expected = [route(ApiKind::Rest, "GET", "/cart/{id}"), route(ApiKind::Http, "ANY", "/cart")];
        assert_eq!(declared_routes(TEMPLATE).unwrap(), expected);
        assert_eq!(declared_routes("Resources: {}").unwrap(), []);
        assert!(declared_routes("[1, 2").is_err());
    }
}
