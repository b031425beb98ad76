//! Where boxes stand: a small layered layout (Sugiyama's) for graphs that have no cycles.
//!
//! Layers are given. Long arrows pass each layer between in a place of their own, one for all arrows of one step; places
//! of a layer are put in an order with few crossings by looking at the neighbours' places, and then as near to those as
//! their neighbours in the layer allow.

use std::ops::Range;

use super::layers::{essential, layers};

/// Passes over all layers, down and up in turn.
const ORDER_PASSES: usize = 12;
const ALIGN_PASSES: usize = 8;
/// Room for a passing arrow, where a box takes 1.
const PASSING: f64 = 0.25;
/// More places than this are not put into order: reading the picture is hopeless anyway.
const PLACES_ORDERED_MAX: usize = 30_000;

/// Boxes of one section. Across: box widths from the left end; along: layers from the first.
#[derive(Debug, Default)]
pub struct Placed {
    /// For each step of the section, in order.
    pub boxes: Vec<Point>,
    pub arrows: Vec<Arrow>,
    pub across: f64,
    pub layers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub across: f64,
    pub along: usize,
}

/// From the middle of one box to that of another, through points in the layers between. Steps counted from the section's first.
#[derive(Debug)]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    pub through: Vec<Point>,
}

/// A place in a layer: a box, or where the arrows of a step pass.
#[derive(Debug, Default)]
struct Place {
    passing: bool,
    layer: usize,
    above: Vec<usize>,
    below: Vec<usize>,
    across: f64,
}

pub fn place(needs: &[Vec<usize>], section: &Range<usize>) -> Placed {
    let layers = layers(needs, section);
    let needs = essential(needs, section);
    let (mut places, links) = places(&layers, &needs, section.start);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); layers.len()];
    places.iter().enumerate().for_each(|(n, place)| rows[place.layer].push(n));
    if places.len() <= PLACES_ORDERED_MAX {
        order(&mut rows, &places);
    }
    align(&rows, &mut places);
    let left = places.iter().map(|place| place.across - size(place) / 2.0).fold(f64::INFINITY, f64::min);
    places.iter_mut().for_each(|place| place.across -= left);
    let across = places.iter().map(|place| place.across + size(place) / 2.0).fold(0.0, f64::max);
    let point = |n: &usize| Point { across: places[*n].across, along: places[*n].layer };
    let arrows = links.iter().map(|(from, to, through)| {
        let through = through.iter().map(point).collect();
        Arrow { from: *from, to: *to, through }
    });
    let boxes = (0..section.len()).map(|step| point(&step)).collect();
    Placed { boxes, arrows: arrows.collect(), across, layers: layers.len() }
}

type Link = (usize, usize, Vec<usize>);

/// The boxes first, then the passing places; and for each arrow the places it takes.
fn places(layers: &[Vec<usize>], needs: &[Vec<usize>], start: usize) -> (Vec<Place>, Vec<Link>) {
    let mut places: Vec<Place> = needs.iter().map(|_| Place::default()).collect();
    for (layer, steps) in layers.iter().enumerate() {
        steps.iter().for_each(|step| places[step - start].layer = layer);
    }
    // Where the arrows of a step pass, layer by layer from the one after its own.
    let mut passing: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    let mut links = Vec::new();
    for (to, needs) in needs.iter().enumerate() {
        for &from in needs {
            let between = places[to].layer - places[from].layer - 1;
            while passing[from].len() < between {
                let before = passing[from].last().copied().unwrap_or(from);
                let (place, layer) = (places.len(), places[before].layer + 1);
                places.push(Place { passing: true, layer, above: vec![before], ..Place::default() });
                places[before].below.push(place);
                passing[from].push(place);
            }
            let through = passing[from][..between].to_vec();
            let before = through.last().copied().unwrap_or(from);
            places[before].below.push(to);
            places[to].above.push(before);
            links.push((from, to, through));
        }
    }
    (places, links)
}

/// Orders each row by the mean position of its neighbours in the row before it, and keeps the best order seen.
fn order(rows: &mut Vec<Vec<usize>>, places: &[Place]) {
    let mut position = vec![0_usize; places.len()];
    let note = |row: &[usize], position: &mut [usize]| row.iter().enumerate().for_each(|(at, n)| position[*n] = at);
    rows.iter().for_each(|row| note(row, &mut position));
    let mut best = (crossings(rows, places, &position), rows.clone());
    for pass in 0..ORDER_PASSES {
        if best.0 == 0 {
            break;
        }
        let down = pass % 2 == 0;
        let turn: Vec<usize> = if down { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for row in turn {
            let key = |n: &usize| {
                let near = if down { &places[*n].above } else { &places[*n].below };
                match near.len() {
                    0 => position[*n] as f64,
                    len => near.iter().map(|other| position[*other] as f64).sum::<f64>() / len as f64,
                }
            };
            let mut keyed: Vec<(f64, usize)> = rows[row].iter().map(|n| (key(n), *n)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            rows[row] = keyed.into_iter().map(|(_, n)| n).collect();
            note(&rows[row], &mut position);
        }
        let found = crossings(rows, places, &position);
        if found < best.0 {
            best = (found, rows.clone());
        }
    }
    *rows = best.1;
}

/// Pairs of arrows that cross, over all rows.
fn crossings(rows: &[Vec<usize>], places: &[Place], position: &[usize]) -> usize {
    let mut crossings = 0;
    for row in rows {
        let mut ends: Vec<usize> = Vec::new();
        for n in row {
            let mut below: Vec<usize> = places[*n].below.iter().map(|other| position[*other]).collect();
            below.sort_unstable();
            ends.extend(below);
        }
        crossings += inversions(&mut ends);
    }
    crossings
}

/// Pairs in the wrong order; sorts on the way.
fn inversions(list: &mut [usize]) -> usize {
    if list.len() < 2 {
        return 0;
    }
    let (left, right) = list.split_at_mut(list.len() / 2);
    let mut found = inversions(left) + inversions(right);
    let (left, right) = (left.to_vec(), right.to_vec());
    let (mut l, mut r) = (0, 0);
    for slot in list {
        if r == right.len() || (l < left.len() && left[l] <= right[r]) {
            *slot = left[l];
            l += 1;
        } else {
            *slot = right[r];
            r += 1;
            found += left.len() - l;
        }
    }
    found
}

fn size(place: &Place) -> f64 {
    if place.passing { PASSING } else { 1.0 }
}

/// Moves places next to their neighbours in the rows above and below, as far as their own row lets them.
fn align(rows: &[Vec<usize>], places: &mut [Place]) {
    for row in rows {
        let mut at = 0.0;
        for n in row {
            places[*n].across = at + size(&places[*n]) / 2.0;
            at += size(&places[*n]);
        }
    }
    for pass in 0..ALIGN_PASSES {
        let down = pass % 2 == 0;
        let turn: Vec<&Vec<usize>> = if down { rows.iter().collect() } else { rows.iter().rev().collect() };
        for row in turn {
            let wanted: Vec<f64> = row
                .iter()
                .map(|n| {
                    let near = if down { &places[*n].above } else { &places[*n].below };
                    match near.len() {
                        0 => places[*n].across,
                        len => near.iter().map(|other| places[*other].across).sum::<f64>() / len as f64,
                    }
                })
                .collect();
            let sizes: Vec<f64> = row.iter().map(|n| size(&places[*n])).collect();
            row.iter().zip(apart(&wanted, &sizes)).for_each(|(n, across)| places[*n].across = across);
        }
    }
}

/// The places nearest to the wanted ones (least squares) in which nothing overlaps and the order stays.
///
/// Without the sizes this is a regression on a rising line: neighbours in the wrong order share their mean.
fn apart(wanted: &[f64], sizes: &[f64]) -> Vec<f64> {
    let mut shift = Vec::with_capacity(wanted.len());
    let mut at = 0.0;
    for (n, size) in sizes.iter().enumerate() {
        at += if n == 0 { 0.0 } else { (sizes[n - 1] + size) / 2.0 };
        shift.push(at);
    }
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (wanted, shift) in wanted.iter().zip(&shift) {
        let mut block = (wanted - shift, 1);
        while let Some((mean, count)) = blocks.pop_if(|(mean, _)| *mean > block.0) {
            let total = count + block.1;
            block = ((mean * count as f64 + block.0 * block.1 as f64) / total as f64, total);
        }
        blocks.push(block);
    }
    let level = blocks.iter().flat_map(|(mean, count)| std::iter::repeat_n(*mean, *count));
    level.zip(&shift).map(|(level, shift)| level + shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaps(placed: &Placed) -> bool {
        let mut boxes = placed.boxes.clone();
        boxes.sort_by(|a, b| a.along.cmp(&b.along).then(a.across.total_cmp(&b.across)));
        boxes.windows(2).any(|two| two[0].along == two[1].along && two[1].across - two[0].across < 0.999)
    }

    #[test]
    fn one_to_three_to_one_stands_in_the_middle() {
        let needs = vec![vec![], vec![0], vec![0], vec![0], vec![1, 2, 3]];
        let placed = place(&needs, &(0..5));
        assert_eq!((placed.layers, placed.across), (3, 3.0));
        assert_eq!(placed.boxes.iter().map(|at| at.across).collect::<Vec<_>>(), [1.5, 0.5, 1.5, 2.5, 1.5]);
        assert!(!overlaps(&placed));
    }

    #[test]
    fn a_crossing_that_need_not_be_is_not_there() {
        // Two chains, the second of which is written crosswise.
        let needs = vec![vec![], vec![], vec![1], vec![0]];
        let placed = place(&needs, &(0..4));
        assert!(placed.boxes[2].across > placed.boxes[3].across);
    }

    #[test]
    fn a_long_arrow_passes_beside_the_boxes_between() {
        let needs = vec![vec![], vec![0], vec![1], vec![2, 4], vec![]];
        let placed = place(&needs, &(0..5));
        let long = placed.arrows.iter().find(|arrow| arrow.from == 4).unwrap();
        assert_eq!(long.through.iter().map(|point| point.along).collect::<Vec<_>>(), [1, 2]);
        for point in &long.through {
            let hit = placed.boxes.iter().any(|at| at.along == point.along && (at.across - point.across).abs() < 0.6);
            assert!(!hit, "{placed:?}");
        }
    }

    #[test]
    fn five_hundred_steps_with_many_needs_do_not_overlap() {
        let needs: Vec<Vec<usize>> =
            (0..500_usize).map(|n| if n < 10 { vec![] } else { vec![n - 10, n - 1 - (n * 7) % 9] }).collect();
        assert!(!overlaps(&place(&needs, &(0..500))));
    }
}
