//! Where in a template something is resolved: for errors, and so that no circle is followed for ever.

use crate::TemplateError;

/// A place, and how deep the way to it is. The path is made only where it is told.
pub(super) struct At<'p> {
    above: Option<&'p At<'p>>,
    name: Name<'p>,
    line: u32,
    pub(super) depth: usize,
}

enum Name<'p> {
    Text(&'p str),
    Item(usize),
    /// The same place, one value in another.
    Same,
}

impl<'p> At<'p> {
    pub(super) fn top(name: &'p str, line: u32) -> Self {
        At { above: None, name: Name::Text(name), line, depth: 0 }
    }

    /// A member of what stands here.
    pub(super) fn below(&'p self, name: &'p str, line: u32) -> Self {
        At { above: Some(self), name: Name::Text(name), line, depth: self.depth + 1 }
    }

    /// An item of the list that stands here.
    pub(super) fn item(&'p self, index: usize, line: u32) -> Self {
        At { above: Some(self), name: Name::Item(index), line, depth: self.depth + 1 }
    }

    /// A value that is needed for what stands here.
    pub(super) fn within(&'p self) -> Self {
        At { above: Some(self), name: Name::Same, line: self.line, depth: self.depth + 1 }
    }

    pub(super) fn error(&self, why: String) -> TemplateError {
        TemplateError::new(self.line(), self.path(), why)
    }

    /// Its own line, or the nearest above.
    fn line(&self) -> u32 {
        if self.line > 0 { self.line } else { self.above.map_or(0, At::line) }
    }

    fn path(&self) -> String {
        let above = self.above.map(At::path).unwrap_or_default();
        let dot = if above.is_empty() { "" } else { "." };
        match self.name {
            Name::Text(name) => format!("{above}{dot}{name}"),
            Name::Item(index) => format!("{above}{dot}{index}"),
            Name::Same => above,
        }
    }
}
