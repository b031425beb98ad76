//! What a release has to pass before it goes anywhere.

use std::fs;

use crate::harness::finish;
use crate::operator::Run;
use crate::place::Place;

fn judge(place: &Place, code: i32, more: &[(&str, &str)]) -> Run {
    let [source, bin] = [place.stack.path("releases/1.0.0"), place.stack.bin()].map(|it| it.display().to_string());
    let mut params = vec![("source", source.as_str()), ("bin", &bin)];
    params.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    params.extend(more);
    place.operator.expect(code, "checks", &params)
}

#[test]
fn a_release_passes_only_in_form_without_faults_and_with_tests_that_reach_it() {
    let place = Place::empty();
    let release = place.stack.release("1.0.0");
    place.stack.migrate("1.0.0");
    let listed = || {
        let mut find = std::process::Command::new("find");
        finish(find.arg(&release).args(["-not", "-path", "*__pycache__*"])).stdout
    };
    let before = listed();

    let passed = judge(&place, 0, &[("coverage_min", "60")]);
    assert!(passed.output("lint", "mark").parse::<f64>().unwrap() >= 9.0);
    let reached: f64 = passed.output("tests", "coverage").parse().unwrap();
    assert!((60.0..100.0).contains(&reached), "{reached}");
    // The tests have really been there: what they added is in the database.
    assert_eq!(place.stack.sql("select count(*) from items where length(name) = 32"), "1");
    assert_eq!(listed(), before, "nothing is left in the release");

    for step in ["form", "lint"] {
        place.saw("S2-13", &passed, step);
    }
    place.saw("S2-15", &passed, "tests");

    // Everything that is wrong is said at once, and tests that pass are not enough where they reach too little.
    let bad = place.stack.path("releases/bad");
    for (name, text) in [
        ("app/__init__.py", "\"\"\"Hardly anything.\"\"\"\n\nWELL = True\n"),
        ("app/extra.py", "def broken( ):\n    return missing\n"),
        ("tests/test_it.py", "from app import WELL\n\n\ndef test_it():\n    assert WELL\n"),
    ] {
        fs::create_dir_all(bad.join(name).parent().unwrap()).unwrap();
        fs::write(bad.join(name), text).unwrap();
    }
    fs::copy(release.join("pyproject.toml"), bad.join("pyproject.toml")).unwrap();
    let failed = judge(&place, 1, &[("source", &bad.display().to_string()), ("coverage_min", "100")]);
    assert_eq!(["form", "lint", "tests"].map(|step| failed.status(step)), ["failed", "failed", "failed"]);
    for found in ["would reformat", "undefined-variable", "1 passed", "coverage of 100% not reached"] {
        assert!(failed.text.contains(found), "{found}: {}", failed.text);
    }
    place.saw("S2-13", &failed, "form");
    place.saw("S2-13", &failed, "lint");
    place.saw("S2-15", &failed, "tests");

    // A release without tests has not passed them.
    fs::remove_file(bad.join("app/extra.py")).unwrap();
    fs::remove_file(bad.join("tests/test_it.py")).unwrap();
    let untested = judge(&place, 1, &[("source", &bad.display().to_string()), ("coverage_min", "0")]);
    assert_eq!(["form", "lint", "tests"].map(|step| untested.status(step)), ["succeeded", "succeeded", "failed"]);
}
