//! That a mask gives the same however the output is cut, and leaves nothing.

use proptest::collection::vec;
use proptest::prelude::*;

use super::forms::forms;
use super::*;

fn mask(secrets: &[&str]) -> Mask {
    Mask::of(secrets.iter().map(|secret| secret.as_bytes())).expect("there is something to hide")
}

/// What comes out when it is cut so.
fn in_pieces(mask: &Mask, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut stream, mut rest, mut out) = (mask.stream(), text, Vec::new());
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*cut).clamp(1, rest.len()));
        out.extend_from_slice(stream.push(now));
        rest = later;
    }
    out.extend_from_slice(stream.finish());
    out
}

/// The rule itself, as slow as it is plain: at each place the longest form; what adjoins is one.
fn plainly(secrets: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let needles: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    let (mut out, mut at, mut masked) = (Vec::new(), 0, false);
    while at < text.len() {
        match needles.iter().filter(|needle| text[at..].starts_with(needle)).map(Vec::len).max() {
            Some(len) => {
                out.extend_from_slice(if masked { b"" } else { MASKED.as_bytes() });
                (at, masked) = (at + len, true);
            }
            None => {
                out.push(text[at]);
                (at, masked) = (at + 1, false);
            }
        }
    }
    out
}

fn leaks(secrets: &[Vec<u8>], text: &[u8]) -> bool {
    let needles = secrets.iter().flat_map(|secret| forms(secret));
    needles.into_iter().any(|needle| text.windows(needle.len()).any(|window| window == needle))
}

/// Few letters, so that secrets begin with each other, overlap and repeat.
fn alike() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(&b"ab'\n"[..]), 4..12)
}

fn any_secret() -> impl Strategy<Value = Vec<u8>> {
    let byte = || any::<u8>().prop_filter("not what stands for it", |byte| *byte != b'*');
    prop_oneof![4 => alike(), 4 => vec(byte(), 4..40), 1 => vec(byte(), 100..300)]
}

/// Secrets, and a text that holds some of their forms, whole and cut, with something between them.
fn a_case() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
    let piece = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (vec(any_secret(), 1..5), vec((piece, vec(prop::sample::select(&b"ab'\nx "[..]), 0..6)), 0..12)).prop_map(
        |(secrets, pieces)| {
            let all: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret)).collect();
            let mut text = Vec::new();
            for ((which, from, to), between) in pieces {
                let form = &all[which.index(all.len())];
                // Every second one whole.
                let (from, to) = if from.index(2) == 0 {
                    (0, form.len())
                } else {
                    (from.index(form.len()), to.index(form.len() + 1))
                };
                text.extend_from_slice(form.get(from..to).unwrap_or_default());
                text.extend_from_slice(&between);
            }
            (secrets, text)
        },
    )
}

fn of_all(secrets: &[Vec<u8>]) -> Mask {
    Mask::of(secrets.iter().map(Vec::as_slice)).expect("there is something to hide")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_cut_it_is_masked_as_a_whole_and_nothing_is_left((secrets, text) in a_case(), cuts in vec(1..9_usize, 1..8)) {
        let mask = of_all(&secrets);
        let masked = in_pieces(&mask, &text, &cuts);
        prop_assert_eq!(&masked, &plainly(&secrets, &text));
        prop_assert!(!leaks(&secrets, &masked));
    }

    #[test]
    fn what_is_no_beginning_of_a_secret_is_seen_at_once(prompt in "[c-z]{1,30}[:?] ?") {
        let mut stream = mask(&["a secret"]).stream();
        prop_assert_eq!(stream.push(prompt.as_bytes()), prompt.as_bytes());
    }
}

#[test]
fn the_longest_form_is_taken_and_no_tail_is_left() {
    let mask = mask(&["pass", "pass word", "word/x"]);
    assert_eq!(mask.hide("pass word/x pass pass wor word/x"), "***/x *** *** wor ***");
    assert_eq!(in_pieces(&mask, b"pass word/x", &[1]), b"***/x");
}

#[test]
fn a_beginning_is_held_back_until_it_is_known_what_it_is() {
    let mut stream = mask(&["opensesame"]).stream();
    assert_eq!(stream.push(b"the door: op"), b"the door: ");
    assert_eq!(stream.push(b"ens"), b"");
    assert_eq!(stream.push(b"!"), b"opens!");
    assert_eq!(stream.push(b"open"), b"");
    assert_eq!(stream.finish(), b"open");
}

#[test]
fn secrets_come_back_in_these_forms() {
    let secret = "p@ss w'rd/\"<é>$x\\";
    let mask = mask(&[secret]);
    for form in [
        "p@ss w'rd/\"<é>$x\\",
        "cEBzcyB3J3JkLyI8w6k+JHhc",
        "cEBzcyB3J3JkLyI8w6k-JHhc",
        "7040737320772772642f223cc3a93e24785c",
        "7040737320772772642F223CC3A93E24785C",
        "p%40ss%20w%27rd%2F%22%3C%C3%A9%3E%24x%5C",
        "p%40ss+w%27rd%2f%22%3c%c3%a9%3e%24x%5c",
        "p%40ss%20w'rd%2F%22%3C%C3%A9%3E%24x%5C",
        r#"p@ss w'rd/\"<é>$x\\"#,
        r#"p@ss w'rd/\"<\u00e9>$x\\"#,
        r#"p@ss w'rd/\"\u003cé\u003e$x\\"#,
        r#"p@ss w'rd\/\"<\u00e9>$x\\"#,
        r#"p@ss w'\''rd/"<é>$x\"#,
        r#"p@ss w'"'"'rd/"<é>$x\"#,
        r#"p@ss w'rd/\"<é>\$x\\"#,
        r#"p@ss\ w\'rd/\"\<é\>\$x\\"#,
        "p@ss w&#39;rd/&quot;&lt;é&gt;$x\\",
    ] {
        assert_eq!(mask.hide(&format!("<{form}>")), format!("<{MASKED}>"), "{form}");
    }
}

#[test]
fn base64_of_a_text_that_holds_it_is_known_wherever_it_begins() {
    let secret = "opensesame";
    let mask = mask(&[secret]);
    for before in ["", "u", "us", "use", "user:"] {
        for after in ["", "\n", "@host"] {
            let encoded =
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{before}{secret}{after}"));
            let masked = mask.hide(&encoded);
            // A character in which the secret and its neighbour share the bits may stay.
            assert!(masked.contains(MASKED) && encoded.len() - masked.len() >= 8, "{encoded}: {masked}");
        }
    }
}

#[test]
fn the_lines_of_a_secret_are_secrets_and_short_ones_are_not() {
    let key = "-----BEGIN KEY-----\n  MIIEvQIBADAN\nBg==\n-----END KEY-----\n";
    let mask = mask(&[key]);
    assert_eq!(mask.hide("got MIIEvQIBADAN, Bg==, and -----END KEY-----"), "got ***, Bg==, and ***");
    assert_eq!(mask.hide(&format!("<{key}>")), "<***\n>");
}

#[test]
fn a_long_secret_is_one_mask_and_what_is_cut_out_of_it_is_masked_too() {
    let secret: String = (0..1_000).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
    let mask = mask(&[&secret]);
    assert_eq!(mask.hide(&format!("<{secret}>")), "<***>");
    let cut = mask.hide(&secret[..600]);
    assert!(cut.starts_with(MASKED) && cut.len() < 140, "{cut}");
}

#[test]
fn what_is_too_short_to_be_told_from_other_text_is_not_looked_for() {
    assert!(Mask::of([&b"abc"[..], b""]).is_none());
    assert_eq!(mask(&["abc", "abcd"]).hide("abc abcd"), "abc ***");
}
