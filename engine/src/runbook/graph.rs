//! Who follows whom: `needs` by name -> edges, cycles, ancestors. Nothing here recurses: a chain has up to 20,000 steps.

use std::collections::HashMap;

use super::model::Span;
use super::report::{Finding, did_you_mean};

/// What one step says about its place in the graph.
#[derive(Debug)]
pub struct Link {
    pub id: String,
    pub span: Span,
    /// `None`: follows the step above it.
    pub needs: Option<Vec<(String, Span)>>,
}

/// For each step the steps it needs, as indexes; main steps before `main_len`, then those of `finally`.
pub fn edges(links: &[Link], main_len: usize, findings: &mut Vec<Finding>) -> Vec<Vec<usize>> {
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (n, link) in links.iter().enumerate() {
        index.entry(&link.id).or_insert(n);
    }
    let mut edges = Vec::with_capacity(links.len());
    for (n, link) in links.iter().enumerate() {
        edges.push(match &link.needs {
            None if n == 0 || n == main_len => Vec::new(),
            None => vec![n - 1],
            Some(needs) => named(n, needs, links, &index, main_len, findings),
        });
    }
    edges
}

fn named(
    step: usize,
    needs: &[(String, Span)],
    links: &[Link],
    index: &HashMap<&str, usize>,
    main_len: usize,
    findings: &mut Vec<Finding>,
) -> Vec<usize> {
    let mut edges = Vec::with_capacity(needs.len());
    for (name, span) in needs {
        match index.get(name.as_str()) {
            None => {
                // Comparing with every id is dear: after many mistakes there are no more guesses.
                let help = (findings.len() < 50)
                    .then(|| {
                        did_you_mean(name, links.iter().map(|link| link.id.as_str()).filter(|id| *id != links[step].id))
                    })
                    .flatten();
                let finding = Finding::new(span, "unknown step", format!("no step has the id `{name}`"));
                findings.push(finding.help(help.unwrap_or_else(|| ids(links, step))));
            }
            Some(&target) if (target < main_len) != (step < main_len) => {
                let help = "a step of `finally` runs after all main steps and may read them without `needs`";
                let message =
                    format!("`{name}` belongs to {}", if target < main_len { "the main steps" } else { "`finally`" });
                findings.push(Finding::new(span, "another section", message).help(help));
            }
            Some(&target) if edges.contains(&target) => {
                findings.push(Finding::new(span, "again", format!("`{name}` is named twice")));
            }
            Some(&target) => edges.push(target),
        }
    }
    edges
}

/// What `needs` can name.
fn ids(links: &[Link], step: usize) -> String {
    const SHOWN_MAX: usize = 12;
    let others = || links.iter().map(|link| link.id.as_str()).filter(|id| *id != links[step].id);
    let shown: Vec<&str> = others().take(SHOWN_MAX).collect();
    match others().count() {
        0 => "`needs` names the ids of other steps, and there is no other: `needs: []`".to_owned(),
        n if n <= SHOWN_MAX => format!("the other steps are: {}", shown.join(", ")),
        n => format!("the other steps are: {}, and {} more", shown.join(", "), n - SHOWN_MAX),
    }
}

/// At most this many cycles are named, each with at most this many of its steps.
const CYCLES_MAX: usize = 10;
const CYCLE_SHOWN_MAX: usize = 12;

/// Reports cycles, each with its path, and returns an order in which every step stands after those it needs; `None` where
/// there is no such order.
pub fn order(links: &[Link], edges: &[Vec<usize>], findings: &mut Vec<Finding>) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut order = Vec::with_capacity(edges.len());
    let mut cycles = 0;
    for root in 0..edges.len() {
        if marks[root] != Mark::New {
            continue;
        }
        marks[root] = Mark::Open;
        let mut stack = vec![(root, 0)];
        while let Some((step, next)) = stack.last_mut() {
            let step = *step;
            let Some(&need) = edges[step].get(*next) else {
                marks[step] = Mark::Done;
                order.push(step);
                stack.pop();
                continue;
            };
            *next += 1;
            match marks[need] {
                Mark::New => {
                    marks[need] = Mark::Open;
                    stack.push((need, 0));
                }
                Mark::Open => {
                    cycles += 1;
                    if cycles <= CYCLES_MAX {
                        let from = stack.iter().position(|(open, _)| *open == need).unwrap_or(0);
                        let path: Vec<usize> = stack[from..].iter().map(|(step, _)| *step).collect();
                        findings.push(cycle(links, &path));
                    }
                }
                Mark::Done => {}
            }
        }
    }
    (cycles == 0).then_some(order)
}

/// `path`: each needs the next, the last needs the first.
fn cycle(links: &[Link], path: &[usize]) -> Finding {
    let (first, last) = (&links[path[0]], &links[path[path.len() - 1]]);
    let named = last.needs.iter().flatten().find(|(name, _)| *name == first.id);
    let span = named.map_or(&last.span, |(_, span)| span);
    let mut names: Vec<&str> = path.iter().map(|step| links[*step].id.as_str()).collect();
    if names.len() > CYCLE_SHOWN_MAX {
        let tail = names.len() - CYCLE_SHOWN_MAX / 2;
        names.splice(CYCLE_SHOWN_MAX / 2..tail, ["..."]);
    }
    let message = format!("these steps wait for each other: {} -> {}", names.join(" -> "), first.id);
    let help = match path {
        [_] => "a step cannot need itself",
        _ => "a step without `needs` follows the step above it; `needs: []` starts at once",
    };
    Finding::new(span, "closes the circle", message).help(help)
}

/// Answers for each (step, other) whether `step` needs `other`, directly or through others.
///
/// The others are taken 64 at a time, one bit each, so that the cost stays near (steps + edges) however many are asked.
pub fn needs_among(order: &[usize], edges: &[Vec<usize>], questions: &[(usize, usize)]) -> Vec<bool> {
    let mut others: Vec<usize> = questions.iter().map(|(_, other)| *other).collect();
    others.sort_unstable();
    others.dedup();
    let mut by_block: Vec<Vec<(usize, usize, u64)>> = vec![Vec::new(); others.len().div_ceil(64)];
    for (n, (step, other)) in questions.iter().enumerate() {
        if let Ok(at) = others.binary_search(other) {
            by_block[at / 64].push((n, *step, 1 << (at % 64)));
        }
    }
    let mut answers = vec![false; questions.len()];
    for (block, asked) in others.chunks(64).zip(by_block) {
        let mut own = vec![0u64; edges.len()];
        for (bit, other) in block.iter().enumerate() {
            own[*other] = 1 << bit;
        }
        let mut above = vec![0u64; edges.len()];
        for &step in order {
            above[step] = edges[step].iter().fold(0, |bits, &need| bits | above[need] | own[need]);
        }
        for (n, step, bit) in asked {
            answers[n] = above[step] & bit != 0;
        }
    }
    answers
}
