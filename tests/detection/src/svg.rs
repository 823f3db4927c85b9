//! Just enough SVG for plots: text, lines, boxes, dots.

use std::fmt::Write as _;

/// Where a text is anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// It begins here.
    Start,
    /// Its middle is here.
    Middle,
    /// It ends here.
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Height in pixels.
    pub size: f64,
    /// Colour.
    pub colour: &'static str,
    /// Bold or not.
    pub bold: bool,
    /// Where it is anchored.
    pub anchor: Anchor,
}

/// The usual text.
pub const TEXT: Style = Style { size: 13.0, colour: "#24292f", bold: false, anchor: Anchor::Start };
/// Text that explains.
pub const SMALL: Style = Style { size: 11.0, colour: "#57606a", bold: false, anchor: Anchor::Start };
/// Text above a plot.
pub const TITLE: Style = Style { size: 15.0, colour: "#24292f", bold: true, anchor: Anchor::Start };
/// Lines in the background.
pub const GRID: &str = "#d8dee4";

/// How a line looks.
#[derive(Debug, Clone, Copy)]
pub struct Stroke {
    /// Colour.
    pub colour: &'static str,
    /// Width in pixels.
    pub width: f64,
    /// Pattern of dashes, empty for none.
    pub dashes: &'static str,
}

/// A thin line of the background.
pub const HAIR: Stroke = Stroke { colour: GRID, width: 1.0, dashes: "" };

/// A picture that is being drawn.
#[derive(Debug, Clone)]
pub struct Picture {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

impl Picture {
    /// An empty picture with a white background; `title` is for screen readers.
    #[must_use]
    pub fn new(width: f64, height: f64, title: &str) -> Picture {
        Picture { width, height, title: title.to_owned(), body: String::new() }
    }

    fn element(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{text}");
    }

    /// A text whose baseline is at (x, y).
    pub fn text(&mut self, x: f64, y: f64, style: &Style, text: &str) {
        let anchor = style.anchor.name();
        let weight = if style.bold { "600" } else { "400" };
        let (size, colour, text) = (style.size, style.colour, escaped(text));
        self.element(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" font-weight="{weight}" fill="{colour}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    /// A text that runs upwards from (x, y).
    pub fn upright_text(&mut self, x: f64, y: f64, style: &Style, text: &str) {
        let (anchor, size, colour, text) = (style.anchor.name(), style.size, style.colour, escaped(text));
        self.element(format_args!(
            r#"<text transform="translate({x:.1} {y:.1}) rotate(-90)" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    /// A line through these points.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: &Stroke) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (path, colour, width, dashes) = (path.join(" "), stroke.colour, stroke.width, stroke.dashes);
        let dashes = if dashes.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dashes}""#) };
        self.element(format_args!(
            r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dashes}/>"#
        ));
    }

    /// A filled box.
    pub fn area(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        self.element(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        ));
    }

    /// A dot.
    pub fn dot(&mut self, x: f64, y: f64, radius: f64, colour: &str) {
        self.element(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" fill="{colour}"/>"#));
    }

    /// The whole document.
    #[must_use]
    pub fn finish(self) -> String {
        let (width, height, title, body) = (self.width, self.height, escaped(&self.title), self.body);
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" "#,
                r#"font-family="-apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif" role="img">"#,
                "\n<title>{title}</title>\n",
                r##"<rect width="{width}" height="{height}" fill="#ffffff"/>"##,
                "\n{body}</svg>\n"
            ),
            width = width,
            height = height,
            title = title,
            body = body
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_well_formed() {
        let mut picture = Picture::new(100.0, 50.0, "less < more & more");
        picture.text(1.0, 2.0, &Style { anchor: Anchor::End, bold: true, ..TEXT }, "a < b");
        picture.upright_text(1.0, 2.0, &SMALL, "c > d");
        picture.line(&[(0.0, 0.0), (1.25, 2.0)], &Stroke { dashes: "4 2", ..HAIR });
        picture.area((0.0, 1.0), (2.0, 3.0), "#fff");
        picture.dot(1.0, 1.0, 2.0, "#000");
        let text = picture.finish();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{text}");
        for part in
            ["<title>less &lt; more &amp; more</title>", ">a &lt; b</text>", "0.0,0.0 1.2,2.0", r#"dasharray="4 2""#]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert_eq!(text.matches('<').count(), text.matches('>').count());
        let opened = ["<text", "<polyline", "<rect", "<circle"].map(|tag| text.matches(tag).count());
        assert_eq!(opened, [2, 1, 2, 1]);
    }
}
