//! What masks secrets is broken on purpose, and whoever compares notices.

use runward_engine::mutants::{self, Mutant};
use runward_workers::mask::Mask;

/// What comes out of a text that comes in pieces of five bytes.
fn masked(mutant: Option<Mutant>) -> String {
    mutants::set(mutant);
    let mask = Mask::of([&b"opensesame"[..]]).expect("a secret of this length is hidden");
    let (mut stream, mut out) = (mask.stream(), Vec::new());
    b"say opensesame, say it".chunks(5).for_each(|piece| out.extend_from_slice(stream.push(piece)));
    out.extend_from_slice(stream.finish());
    mutants::set(None);
    String::from_utf8(out).expect("it was text")
}

#[test]
fn a_mask_that_does_not_work_is_noticed() {
    assert_eq!(masked(None), "say ***, say it");
    assert_eq!(masked(Some(Mutant::MaskNothing)), "say opensesame, say it");
    assert_ne!(masked(Some(Mutant::MaskForgetsTheTail)), "say ***, say it");
}
