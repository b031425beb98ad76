//! The graph for Graphviz.

use super::{Node, Picture};

pub fn dot(picture: &Picture, now: i64) -> String {
    let mut out = format!("digraph runbook {{\n  label=\"{}\";\n  labelloc=t;\n", escape(&picture.title));
    out += "  compound=true;\n  fontname=\"sans-serif\";\n";
    out += "  node [shape=box, style=\"rounded,filled\", fillcolor=\"#ffffff\", fontname=\"sans-serif\"];\n";
    for (n, (name, range)) in picture.sections().into_iter().enumerate() {
        if let Some(name) = name {
            out += &format!("  subgraph cluster_{n} {{\n    label=\"{}\";\n    style=dashed;\n", escape(name));
        }
        for step in range.clone() {
            let node = &picture.nodes[step];
            let colour = node.state.as_ref().map(|state| fill(state.status.as_str()));
            let colour = colour.map(|colour| format!(", fillcolor=\"{colour}\"")).unwrap_or_default();
            out += &format!("    s{step} [label=\"{}\"{colour}];\n", label(node, now));
        }
        for step in range.clone() {
            for need in &picture.needs[step] {
                out += &format!("    s{need} -> s{step};\n");
            }
        }
        if name.is_some() {
            out += "  }\n";
            let (last, first) = (picture.last_main(), range.start);
            out += &format!("  s{last} -> s{first} [lhead=cluster_{n}, style=dashed];\n");
        }
    }
    out + "}\n"
}

fn label(node: &Node, now: i64) -> String {
    let mut lines = vec![escape(&node.id)];
    lines.extend(node.name.as_deref().map(escape));
    lines.extend(node.state.iter().map(|state| escape(&state.sentence(now))));
    lines.extend(node.notes.iter().map(|note| escape(note)));
    lines.join("\\n")
}

/// Inside double quotes. Graphviz reads `\N` and `&lt;` in labels, too.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in super::shortened(text).chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '&' => out += "&amp;",
            '\n' => out += "\\n",
            c => out.push(c),
        }
    }
    out
}

fn fill(status: &str) -> &'static str {
    match status {
        "succeeded" => "#d7f0dd",
        "failed" | "timed_out" => "#ffdcd9",
        "lost" | "held" | "backoff" => "#fff0c2",
        "running" => "#d6e8ff",
        _ => "#eeeeee",
    }
}
