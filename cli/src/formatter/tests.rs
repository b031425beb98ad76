//! What formatting keeps, on texts by hand, on every YAML file of the repository, and on random ones.

use proptest::prelude::*;

use super::{Unformattable, format, same};

fn formatted(text: &str) -> String {
    format(text).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

#[test]
fn comments_quotes_order_and_blank_lines_stay() {
    let text = "# top\nname:   x # why\n\n\n\nparams: { env: {type: string,   enum: ['a', \"b\"]} }\n# about steps\nsteps:\n- id:   one\n  # inside\n  run: 'echo \"${{ params.env }}\"'\n\n- {id: two,   cmd: [ \"true\" ]}\n";
    let wanted = "# top\nname: x # why\n\nparams: {env: {type: string, enum: ['a', \"b\"]}}\n# about steps\nsteps:\n  - id: one\n    # inside\n    run: 'echo \"${{ params.env }}\"'\n\n  - {id: two, cmd: [\"true\"]}\n";
    assert_eq!(formatted(text), wanted);
}

#[test]
fn a_script_stays_byte_for_byte() {
    let scripts = [
        "|\n      if true; then   \n        echo \"a:  b\"  # no comment of YAML\n\n      fi\n",
        "|\n      cat <<'END'\n      \tx\n      END\n",
        "|\n      # a comment of the shell\n      true\n",
        "|-\n      one\n\n\n      two\n",
        ">\n      folded\n      text\n\n      end\n",
        "|2\n        indented\n      more\n",
        "|  # why\n      true\n",
    ];
    for script in scripts {
        let text = format!("steps:\n  - id: a\n    run: {script}  - id:  b\n");
        let after = formatted(&text);
        assert!(same(&text, &after), "{after}");
        assert!(after.contains(&script[script.find('\n').unwrap()..]), "{script:?} in\n{after}");
    }
}

#[test]
fn what_the_formatter_would_change_is_refused_and_not_written() {
    let text = "steps:\n  - run: |+\n      keep\n\n\n  - id: b\n";
    assert!(matches!(format(text), Err(Unformattable::Refused(_))));
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_stay() {
    let text = "\u{feff}name:   x\r\nsteps:\r\n- run: |\r\n   a\r\n\r\n   b\r\n";
    assert_eq!(formatted(text), "\u{feff}name: x\r\nsteps:\r\n  - run: |\r\n      a\r\n\r\n      b\r\n");
    assert_eq!(formatted("name:  备份 # 注释\nsteps: [ ]\n"), "name: 备份 # 注释\nsteps: []\n");
}

#[test]
fn numbers_anchors_and_odd_scalars_stay_as_they_are_written() {
    let text = "a:  1.10\nb: 012\nc: 0x1F\nd: NO\ne: 1e3\nf: ~\ng: &x  [1,  2]\nh:   *x\ni: '1.0'\nj:\nk: \"a\\tb\"\nl: 'it''s'\n";
    let after = formatted(text);
    for part in [
        "a: 1.10\n",
        "b: 012\n",
        "c: 0x1F\n",
        "g: &x [1, 2]\n",
        "h: *x\n",
        "i: '1.0'\n",
        "k: \"a\\tb\"\n",
        "l: 'it''s'\n",
    ] {
        assert!(after.contains(part), "{part:?} in\n{after}");
    }
}

#[test]
fn what_is_no_yaml_is_a_finding() {
    for text in ["a: [", "a: 1\nb: 2\n c: 3\n", "\"", "a: *nobody\n", "a: 1\n---\nb: 2\n"] {
        assert!(matches!(format(text), Err(Unformattable::Broken(_))), "{text:?}");
    }
    assert_eq!(formatted(""), "");
    assert_eq!(formatted("# only a comment\n"), "# only a comment\n");
}

/// Any YAML of some depth, written in any of several styles.
fn yaml() -> impl Strategy<Value = String> {
    let word = "[a-z][a-z0-9_]{0,6}";
    let scalar = prop_oneof![
        word.prop_map(|word| word),
        "[ -~]{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        "[ !#-\\[\\]-~]{0,12}".prop_map(|text| format!("\"{text}\"")),
        prop_oneof![
            Just("1.10"),
            Just("012"),
            Just("~"),
            Just("true"),
            Just("-7"),
            Just("备份"),
            Just("a #b"),
            Just("x # c")
        ]
        .prop_map(str::to_owned),
    ];
    let flow = scalar.clone().prop_filter("no comment inside", |text| !text.contains('#')).prop_recursive(
        3,
        12,
        4,
        move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,  "))),
                prop::collection::vec((word, inner), 0..4).prop_map(|entries| {
                    let entries: Vec<String> = entries
                        .into_iter()
                        .enumerate()
                        .map(|(n, (key, value))| format!("{key}{n}:   {value}"))
                        .collect();
                    format!("{{ {} }}", entries.join(","))
                }),
            ]
        },
    );
    let script = prop::collection::vec("[ -~]{0,20}", 1..5).prop_map(|lines| {
        let lines: Vec<String> = lines.iter().map(|line| format!("      {}\n", line.trim_start())).collect();
        format!("|\n{}", lines.concat())
    });
    let value = prop_oneof![3 => scalar, 2 => flow, 2 => script];
    let entry = (word, value, prop::option::of("[ -~]{0,10}"), 0..3usize);
    let step = prop::collection::vec(entry, 1..4);
    prop::collection::vec(step, 0..5).prop_map(|steps| {
        let mut text = String::from("steps:\n");
        for step in steps {
            for (n, (key, value, comment, blank)) in step.into_iter().enumerate() {
                let start = if n == 0 { "  -  " } else { "     " };
                if let (Some(comment), true) = (&comment, n > 0) {
                    text += &format!("     # {comment}\n");
                }
                text += &format!("{start}{key}{n}:  {}\n", value.trim_end_matches('\n'));
                text += &"\n".repeat(blank);
            }
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever it is given: the same values, twice is once, or an answer that says no.
    #[test]
    fn formatting_keeps_every_value_and_comes_to_rest(text in yaml()) {
        match format(&text) {
            Ok(after) => {
                prop_assert!(same(&text, &after), "{text}\n----\n{after}");
                let again = format(&after).ok();
                prop_assert_eq!(again.as_deref(), Some(after.as_str()));
            }
            Err(Unformattable::Broken(_)) => {}
            Err(Unformattable::Refused(why)) => prop_assert!(false, "{why}\n{text}"),
        }
    }

    #[test]
    fn formatting_survives_any_text(text in "[ -~\n\t备]{0,80}") {
        let _ = format(&text);
    }
}

#[test]
fn every_yaml_file_of_the_repository_can_be_formatted() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = 0;
    for folder in ["runbooks", "engine/tests/files", "cli/src/templates"] {
        for path in crate::runbook_file::below(&root.join(folder)).unwrap() {
            let text = std::fs::read_to_string(&path).unwrap();
            let after = formatted(&text);
            assert!(same(&text, &after), "{}", path.display());
            assert_eq!(formatted(&after), after, "{}", path.display());
            found += 1;
        }
    }
    assert!(found >= 4, "{found}");
}
