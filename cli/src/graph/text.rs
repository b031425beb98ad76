//! The graph as text: layer by layer, with what each step follows where that is not plain from its place.

use unicode_width::UnicodeWidthStr;

use super::layers::layers;
use super::{Node, Picture};
use crate::text::{count, safe};
use crate::view::words::Marks;

/// Names shown of a long list of needs.
const NEEDS_SHOWN: usize = 6;
/// Names are aligned up to this many columns; a longer one pushes its notes aside.
const NAME_WIDTH_MAX: usize = 32;

/// `now` is for steps that run, in epoch milliseconds. Lines without line breaks, safe for a terminal.
pub fn text(picture: &Picture, marks: Marks, now: i64) -> Vec<String> {
    let all: Vec<_> =
        picture.sections().into_iter().map(|(name, range)| (name, layers(&picture.needs, &range))).collect();
    let widest = all.iter().flat_map(|(_, layers)| layers).map(Vec::len).max().unwrap_or(0);
    let about = match widest {
        0 | 1 => "one after the other".to_owned(),
        n => format!("up to {n} at a time; those of one layer do not wait for each other"),
    };
    let mut lines = vec![format!("{}: {}, {about}", safe(&picture.title), count(picture.nodes.len() as u64, "step"))];
    let width = picture.nodes.iter().map(|node| safe(&node.id).width()).max().unwrap_or(0).min(NAME_WIDTH_MAX);
    for (name, layers) in all {
        lines.push(name.unwrap_or("").to_owned());
        for (n, layer) in layers.iter().enumerate() {
            let before: &[usize] = n.checked_sub(1).map_or(&[], |n| &layers[n]);
            for (at, step) in layer.iter().enumerate() {
                let number = if at == 0 { (n + 1).to_string() } else { String::new() };
                let branch = marks.branch(at, layer.len());
                let line = line(picture, *step, before, marks, width, now);
                lines.push(format!("{number:>5} {branch} {line}").trim_end().to_owned());
            }
        }
    }
    lines
}

fn line(picture: &Picture, step: usize, before: &[usize], marks: Marks, width: usize, now: i64) -> String {
    let node = &picture.nodes[step];
    let id = safe(&node.id);
    let pad = " ".repeat(width.saturating_sub(id.width()));
    let mut notes: Vec<String> = after(picture, step, before).into_iter().collect();
    notes.extend(node.name.as_deref().map(|name| format!("\"{}\"", safe(name))));
    notes.extend(node.notes.iter().map(|note| safe(note)));
    let state = state(node, marks, now);
    format!("{}{id}{pad}  {}{}", state.0, state.1, notes.join("; "))
}

/// The symbol before the name, and the words after it.
fn state(node: &Node, marks: Marks, now: i64) -> (String, String) {
    match &node.state {
        None => (String::new(), String::new()),
        Some(state) => {
            let status = state.status.as_str();
            (format!("{} ", marks.symbol(status)), format!("{:<24}  ", state.sentence(now)))
        }
    }
}

/// Nothing where a step follows exactly the one step above it.
fn after(picture: &Picture, step: usize, before: &[usize]) -> Option<String> {
    let needs = &picture.needs[step];
    if needs.is_empty() || needs.as_slice() == before {
        return None;
    }
    let mut names: Vec<String> = needs.iter().take(NEEDS_SHOWN).map(|need| safe(&picture.nodes[*need].id)).collect();
    if needs.len() > NEEDS_SHOWN {
        names.push(format!("{} more", needs.len() - NEEDS_SHOWN));
    }
    Some(format!("after {}", names.join(", ")))
}
