//! The graph for Mermaid (GitHub, GitLab and many wikis draw it).
//!
//! Names of nodes are ours, so that no word of Mermaid (`end`) can be one. In labels every character that could mean
//! anything to it is written by its number.

use super::{Node, Picture};

pub fn mermaid(picture: &Picture, now: i64) -> String {
    let mut out = String::from("flowchart TD\n");
    for (n, (name, range)) in picture.sections().into_iter().enumerate() {
        let indent = if name.is_some() { "    " } else { "  " };
        if let Some(name) = name {
            out += &format!("  subgraph part{n}[\"{}\"]\n", escape(name));
        }
        for step in range.clone() {
            out += &format!("{indent}s{step}[\"{}\"]\n", label(&picture.nodes[step], now));
        }
        for step in range {
            for need in &picture.needs[step] {
                out += &format!("{indent}s{need} --> s{step}\n");
            }
        }
        if name.is_some() {
            out += "  end\n";
            out += &format!("  s{} -.-> part{n}\n", picture.last_main());
        }
    }
    for (status, steps) in picture.by_status() {
        let steps: Vec<String> = steps.iter().map(|step| format!("s{step}")).collect();
        out += &format!("  classDef {status} {}\n  class {} {status}\n", style(status), steps.join(","));
    }
    out
}

fn label(node: &Node, now: i64) -> String {
    let mut lines = vec![escape(&node.id)];
    lines.extend(node.name.as_deref().map(escape));
    lines.extend(node.state.iter().map(|state| escape(&state.sentence(now))));
    lines.extend(node.notes.iter().map(|note| escape(note)));
    lines.join("<br/>")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in super::shortened(text).chars() {
        match c {
            c if c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | ',' | '/') => out.push(c),
            c => out += &format!("#{};", c as u32),
        }
    }
    out
}

/// Readable on light and on dark pages: the text takes no colour from the page.
fn style(status: &str) -> &'static str {
    match status {
        "succeeded" => "fill:#d7f0dd,stroke:#1a7f37,color:#0b2912",
        "failed" | "timed_out" => "fill:#ffdcd9,stroke:#b3261e,color:#410e0b",
        "lost" | "held" | "backoff" => "fill:#fff0c2,stroke:#946200,color:#332300",
        "running" => "fill:#d6e8ff,stroke:#0b57d0,color:#041e49",
        _ => "fill:#eeeeee,stroke:#757575,color:#222222",
    }
}
