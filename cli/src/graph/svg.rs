//! The graph as one SVG file: no script, nothing from elsewhere, readable on light and dark pages.
//!
//! Drawn in the direction in which it is less wide, because people scroll down.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::place::{Placed, Point, place};
use super::{Node, Picture, shortened};
use crate::view::words::Marks;

/// A picture with more boxes than this shows nothing to anyone.
pub const STEPS_MAX: usize = 2_000;

/// In pixels.
const BOX_WIDTH: f64 = 208.0;
const BOX_HEIGHT: f64 = 46.0;
const GAP_ACROSS: f64 = 24.0;
const GAP_ALONG: f64 = 44.0;
const MARGIN: f64 = 24.0;
const TITLE: f64 = 34.0;
/// Columns of text that fit into a box, in its two sizes.
const NAME_COLUMNS: usize = 24;
const NOTE_COLUMNS: usize = 32;

const STYLE: &str = "
  svg { background: #ffffff; font-family: system-ui, 'Noto Sans', 'Noto Sans CJK SC', sans-serif; }
  .page { fill: #ffffff; }
  text { fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .name { font-size: 13px; font-weight: 600; }
  .note { font-size: 11px; fill: #59636e; }
  .box { fill: #f6f8fa; stroke: #8c959f; }
  .arrow { fill: none; stroke: #8c959f; stroke-width: 1.3; }
  .head { fill: #8c959f; }
  .part { fill: none; stroke: #8c959f; stroke-dasharray: 4 4; }
  .succeeded .box { fill: #dafbe1; stroke: #1a7f37; }
  .failed .box, .timed_out .box { fill: #ffebe9; stroke: #cf222e; stroke-width: 2; }
  .lost .box, .held .box, .backoff .box { fill: #fff8c5; stroke: #9a6700; stroke-width: 2; }
  .running .box { fill: #ddf4ff; stroke: #0969da; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    .page { fill: #0d1117; }
    text { fill: #e6edf3; }
    .note { fill: #9198a1; }
    .box { fill: #161b22; stroke: #6e7681; }
    .succeeded .box { fill: #0f2a17; stroke: #3fb950; }
    .failed .box, .timed_out .box { fill: #3a1414; stroke: #f85149; }
    .lost .box, .held .box, .backoff .box { fill: #322606; stroke: #d29922; }
    .running .box { fill: #0c2136; stroke: #58a6ff; }
  }
";

/// Which way the layers follow each other.
#[derive(Clone, Copy)]
enum Flow {
    Down,
    Right,
}

/// A section, its name, and where its first layer stands, in pixels.
struct Part {
    name: Option<&'static str>,
    start: usize,
    placed: Placed,
    along: f64,
}

pub fn svg(picture: &Picture, now: i64) -> String {
    let parts: Vec<_> =
        picture.sections().into_iter().map(|(name, at)| (name, at.start, place(&picture.needs, &at))).collect();
    let across = parts.iter().map(|(_, _, placed)| placed.across).fold(0.0, f64::max);
    let layers: usize = parts.iter().map(|(_, _, placed)| placed.layers).sum();
    let flow = if across * (BOX_WIDTH + GAP_ACROSS) > layers as f64 * (BOX_WIDTH + GAP_ALONG) {
        Flow::Right
    } else {
        Flow::Down
    };
    let (mut along, mut stacked) = (MARGIN, Vec::new());
    for (name, start, placed) in parts {
        along += if name.is_some() { GAP_ALONG } else { 0.0 };
        let end = along + placed.layers as f64 * flow.layer();
        stacked.push(Part { name, start, placed, along });
        along = end;
    }
    let end = along - GAP_ALONG + MARGIN;
    let side = across * flow.lane() - GAP_ACROSS + 2.0 * MARGIN;
    let title = shortened(&picture.title);
    let (width, height) = match flow {
        Flow::Down => (side, end + TITLE),
        Flow::Right => (end, side + TITLE),
    };
    let width = width.max(title.width() as f64 * 8.5 + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n<text class=\"title\" x=\"{MARGIN}\" y=\"{MARGIN}\">{}</text>\n",
        escape(&title),
        escape(&title)
    );
    stacked.iter().for_each(|part| out += &flow.part(picture, part, side, now));
    out + "</svg>\n"
}

impl Flow {
    /// From one layer to the next, and from one place in a layer to the next.
    fn layer(self) -> f64 {
        match self {
            Flow::Down => BOX_HEIGHT + GAP_ALONG,
            Flow::Right => BOX_WIDTH + GAP_ALONG,
        }
    }

    fn lane(self) -> f64 {
        match self {
            Flow::Down => BOX_WIDTH + GAP_ACROSS,
            Flow::Right => BOX_HEIGHT + GAP_ACROSS,
        }
    }

    /// Half of what a box takes along the flow.
    fn half(self) -> f64 {
        match self {
            Flow::Down => BOX_HEIGHT / 2.0,
            Flow::Right => BOX_WIDTH / 2.0,
        }
    }

    /// Middle of a place: across and along the flow -> x and y.
    fn middle(self, part: &Part, point: Point) -> (f64, f64) {
        let across = MARGIN + point.across * self.lane() - GAP_ACROSS / 2.0;
        self.xy(across, part.along + point.along as f64 * self.layer() + self.half())
    }

    fn xy(self, across: f64, along: f64) -> (f64, f64) {
        match self {
            Flow::Down => (across, along + TITLE),
            Flow::Right => (along, across + TITLE),
        }
    }

    fn part(self, picture: &Picture, part: &Part, side: f64, now: i64) -> String {
        let mut out = String::new();
        if let Some(name) = part.name {
            let (from, to) =
                (part.along - 22.0, part.along + part.placed.layers as f64 * self.layer() - GAP_ALONG + 12.0);
            let ((x, y), (x2, y2)) = (self.xy(8.0, from), self.xy(side - 8.0, to));
            out += &format!(
                "<rect class=\"part\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\"/>\n\
                 <text class=\"note\" x=\"{:.0}\" y=\"{:.0}\">{}</text>\n",
                x2 - x,
                y2 - y,
                x + 8.0,
                y + 14.0,
                escape(name)
            );
        }
        for arrow in &part.placed.arrows {
            let from = self.middle(part, part.placed.boxes[arrow.from]);
            let to = self.middle(part, part.placed.boxes[arrow.to]);
            let through: Vec<_> = arrow.through.iter().map(|point| self.middle(part, *point)).collect();
            out += &self.arrow(from, &through, to);
        }
        for (step, point) in part.placed.boxes.iter().enumerate() {
            out += &drawn_box(&picture.nodes[part.start + step], self.middle(part, *point), now);
        }
        out
    }

    /// Leaves and enters at the middle of a side; straight beside the boxes it passes.
    fn arrow(self, from: (f64, f64), through: &[(f64, f64)], to: (f64, f64)) -> String {
        let half = self.half();
        let along = |(x, y): (f64, f64), by: f64| match self {
            Flow::Down => (x, y + by),
            Flow::Right => (x + by, y),
        };
        let mut at = along(from, half);
        let mut path = format!("M{:.1} {:.1}", at.0, at.1);
        let mut curve = |to: (f64, f64)| {
            let (one, two) = (along(at, GAP_ALONG / 2.0), along(to, -GAP_ALONG / 2.0));
            path += &format!(" C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}", one.0, one.1, two.0, two.1, to.0, to.1);
            at = to;
        };
        for point in through {
            let (enter, leave) = (along(*point, -half), along(*point, half));
            curve(enter);
            curve(leave);
        }
        let tip = along(to, -half);
        curve(along(tip, -7.0));
        let head = match self {
            Flow::Down => format!(
                "{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}",
                tip.0,
                tip.1,
                tip.0 - 4.0,
                tip.1 - 8.0,
                tip.0 + 4.0,
                tip.1 - 8.0
            ),
            Flow::Right => format!(
                "{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}",
                tip.0,
                tip.1,
                tip.0 - 8.0,
                tip.1 - 4.0,
                tip.0 - 8.0,
                tip.1 + 4.0
            ),
        };
        format!("<path class=\"arrow\" d=\"{path}\"/><polygon class=\"head\" points=\"{head}\"/>\n")
    }
}

fn drawn_box(node: &Node, (x, y): (f64, f64), now: i64) -> String {
    let status = node.state.as_ref().map_or("", |state| state.status.as_str());
    let mark = if status.is_empty() { String::new() } else { format!("{} ", Marks::Unicode.symbol(status)) };
    let mut notes: Vec<String> = node.state.iter().map(|state| state.sentence(now)).collect();
    notes.extend(node.name.clone());
    notes.extend(node.notes.iter().cloned());
    let notes: Vec<String> = notes.iter().map(|note| shortened(note)).collect();
    let whole = [vec![shortened(&node.id)], notes.clone()].concat().join("\n");
    let (left, top) = (x - BOX_WIDTH / 2.0, y - BOX_HEIGHT / 2.0);
    let name = cut(&format!("{mark}{}", shortened(&node.id)), NAME_COLUMNS);
    let (name_y, note) = match notes.is_empty() {
        true => (y + 4.5, String::new()),
        false => {
            let note = escape(&cut(&notes.join("; "), NOTE_COLUMNS));
            (
                y - 3.0,
                format!("<text class=\"note\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{note}</text>", y + 14.0),
            )
        }
    };
    format!(
        "<g class=\"step {status}\"><title>{}</title><rect class=\"box\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{BOX_WIDTH}\" \
         height=\"{BOX_HEIGHT}\" rx=\"7\"/><text class=\"name\" x=\"{x:.1}\" y=\"{name_y:.1}\" text-anchor=\"middle\">{}</text>{note}</g>\n",
        escape(&whole),
        escape(&name)
    )
}

/// At most so many columns, with a sign where something is missing.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    format!("{}…", text.chars().take_while(fits).collect::<String>())
}

/// Text between tags. Characters that XML knows no way to write are gone already: they are control characters.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
