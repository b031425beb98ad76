//! What can run at the same time: a step stands in the layer after the last of those it needs.
//!
//! Nothing here recurses, and the cost is that of reading the edges: a chain has up to 20,000 steps.

use std::ops::Range;

/// The layer of each step of a section, counted from 0. `needs` is that of the whole graph.
pub fn layer_of(needs: &[Vec<usize>], section: &Range<usize>) -> Vec<usize> {
    let local = |step: usize| step - section.start;
    let mut dependents = vec![Vec::new(); section.len()];
    let mut unmet = vec![0_usize; section.len()];
    for step in section.clone() {
        unmet[local(step)] = needs[step].len();
        needs[step].iter().for_each(|need| dependents[local(*need)].push(step));
    }
    let mut layer = vec![0; section.len()];
    let mut open: Vec<usize> = section.clone().filter(|step| unmet[local(*step)] == 0).collect();
    while let Some(step) = open.pop() {
        for &next in &dependents[local(step)] {
            layer[local(next)] = layer[local(next)].max(layer[local(step)] + 1);
            unmet[local(next)] -= 1;
            if unmet[local(next)] == 0 {
                open.push(next);
            }
        }
    }
    layer
}

/// The steps of a section, layer by layer, each layer in file order.
pub fn layers(needs: &[Vec<usize>], section: &Range<usize>) -> Vec<Vec<usize>> {
    let layer = layer_of(needs, section);
    let mut layers = vec![Vec::new(); layer.iter().max().map_or(0, |last| last + 1)];
    for step in section.clone() {
        layers[layer[step - section.start]].push(step);
    }
    layers
}

/// The needs of a section without those that follow from others: `a -> b -> c` needs no `a -> c`. Positions are counted from
/// the section's first step.
pub fn essential(needs: &[Vec<usize>], section: &Range<usize>) -> Vec<Vec<usize>> {
    let words = section.len().div_ceil(64);
    let mut above = vec![0_u64; words * section.len()];
    let mut kept = vec![Vec::new(); section.len()];
    for step in layers(needs, section).into_iter().flatten() {
        let at = step - section.start;
        let mut needed: Vec<usize> = needs[step].iter().map(|need| need - section.start).collect();
        let mut reached = vec![0_u64; words];
        for &need in &needed {
            reached.iter_mut().zip(&above[need * words..]).for_each(|(all, bits)| *all |= bits);
        }
        needed.retain(|need| reached[need / 64] & (1 << (need % 64)) == 0);
        kept[at].clone_from(&needed);
        needed.iter().for_each(|need| reached[need / 64] |= 1 << (need % 64));
        above[at * words..(at + 1) * words].copy_from_slice(&reached);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_stands_after_the_last_one_it_needs() {
        // 0 -> 1 -> 3, 0 -> 2, 2 -> 3, and 4 starts at once
        let needs = vec![vec![], vec![0], vec![0], vec![1, 2, 0], vec![]];
        assert_eq!(layers(&needs, &(0..5)), [vec![0, 4], vec![1, 2], vec![3]]);
        assert_eq!(essential(&needs, &(0..5)), [vec![], vec![0], vec![0], vec![1, 2], vec![]]);
    }

    #[test]
    fn a_section_in_the_middle_is_counted_from_its_own_start() {
        let needs = vec![vec![], vec![0], vec![], vec![2]];
        assert_eq!(layers(&needs, &(2..4)), [vec![2], vec![3]]);
        assert_eq!(essential(&needs, &(2..4)), [vec![], vec![0]]);
    }

    #[test]
    fn twenty_thousand_steps_in_a_row_are_no_trouble() {
        let needs: Vec<Vec<usize>> = (0..20_000_usize).map(|n| n.checked_sub(1).into_iter().collect()).collect();
        assert_eq!(layers(&needs, &(0..20_000)).len(), 20_000);
    }
}
