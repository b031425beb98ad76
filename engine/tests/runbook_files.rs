//! Runbook files: what is accepted, and what is said about what is not.

use proptest::prelude::*;
use runward_engine::runbook::model::{Action, Items, OnLost};
use runward_engine::runbook::{parse, position};

use runbook_support::{accepted, complaints, with_steps};

mod runbook_support;

const EXAMPLE: &str = include_str!("files/pg-minor-upgrade.yaml");

#[test]
fn the_example_of_the_contract_is_right_and_its_unbuilt_keys_are_named() {
    let runbook = accepted(EXAMPLE);
    let unbuilt: Vec<&str> = runbook.unbuilt.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(unbuilt, ["on.webhook"]);
    assert_eq!(&EXAMPLE[runbook.unbuilt[0].span.clone()], "webhook");
    let ids: Vec<&str> = runbook.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["backup", "agree", "upgrade", "verify", "finally_1"]);
    assert_eq!(runbook.steps[0].on_lost, OnLost::Retry);
    assert_eq!(runbook.steps[2].needs, [1]);
    assert_eq!(runbook.steps[3].runs_on, ["db"]);
    assert!(matches!(runbook.steps[2].for_each.as_ref().unwrap().items, Items::Expression(_)));
    assert!(matches!(runbook.steps[4].action, Action::Notify(_)));
}

#[test]
fn ten_mistakes_give_ten_findings_with_their_places() {
    let source = "\
name: 夜间备份
description: 每天晚上备份数据库
params: {count: {type: int, description: 数量, default: 五}}
timeout: 10
steps:
  - id: prepare
    name: 准备
    run: echo 你好 ${{ params.cuont }}
  - id: dump
    neds: [dump]
    run: pg_dump ${{ params.count }}
  - id: load
    needs: [dmp]
    timeout: 5 minutes
    run: echo 数据 && cat ${{ item }}
    on-lost: retyr
  - id: load
    run: |
      echo 一
      echo 二; echo ${{ steps.nothing.status }}
";
    insta::assert_snapshot!(complaints(source), @r#"
    3:55 `"五"` is not an int
    4:10 `timeout` must be a duration such as `10s` or `10m`, not a number (a bare number has no unit: write `10s` or `10m`)
    8:22 `cuont` is not a parameter of this runbook (did you mean `count`?)
    10:5 `neds` is not a key of a step (did you mean `needs`?)
    13:13 no step has the id `dmp` (did you mean `dump`?)
    14:14 `5 minutes` is not a duration: write for example `30s`, `10m`, `2h`, `7d` or `1h30m`
    15:29 `item` stands outside a `for-each`
    16:14 `on-lost` cannot be `retyr` (did you mean `retry`?)
    17:9 two steps have the id `load` (ids are unique in the file, `finally` included)
    20:24 no step has the id `nothing`
    "#);
}

/// The first complaint about a file.
fn first(source: &str) -> String {
    complaints(source).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn each_rule_has_its_sentence() {
    let cases = [
        ("{run: a, cmd: [b]}", "1 a step has `run` and `cmd`; only one is possible"),
        ("{id: a}", "1 a step needs one of: run"),
        ("{run: a, shell: perl, if: 'x ='}", "1 "),
        ("{run: 'echo ${{ run.id }}', shell: python3}", "1 `${{ }}` cannot stand in the text of a python3 script"),
        ("{script: ../a.sh}", "1 `../a.sh` leaves the runbook's folder"),
        ("{cmd: [a], shell: sh}", "1 `shell` means nothing without `run` or `script`"),
        ("{run: a, max-parallel: 2}", "1 `max-parallel` means nothing without `for-each`"),
        ("{run: a, on-lost: retry}", "1 `on-lost: retry` starts the step again, which it may not"),
        ("{run: a, on-lost: retry, retry: {attempts: 1}}", "1 `on-lost: retry` starts the step again"),
        ("{run: a, retry: {attempts: 101}}", "1 `attempts` must be 1 to 100"),
        ("{run: a, timeout: 0s}", "1 `timeout` cannot be zero"),
        ("{run: a, env: {RUNWARD_X: a}}", "1 `RUNWARD_X`: names that begin with RUNWARD_"),
        ("{run: a, if: success()}", "1 `success()` can only stand in the `if` of a step of `finally`"),
        ("{run: a, if: '${{ run.id }}'}", "1 `if` holds a bare expression, without `${{ }}` (write `if: run.id`)"),
        ("{run: a, for-each: 'x ${{ run.id }}'}", "1 `for-each` is a list, or one"),
        ("{run: a, env: {A: '${{ env.B }}'}}", "1 a value of `env` cannot read `env`"),
        ("{cmd: [a, '${{ env.B }}']}", "1 `B` is not declared in the `env` of this step"),
        ("{id: a, cmd: [a, '${{ steps.a.status }}']}", "1 `a` reads its own result"),
        ("{id: a, run: a, needs: [a]}", "1 these steps wait for each other: a -> a"),
        ("{run: a, name: '${{ run.id }}'}", "1 `name` is fixed text"),
        ("{id: a, command: make}", "1 `command` is not a key of a step (did you mean `run` or `cmd`?)"),
        ("{id: a, run: make, when: 'true'}", "1 `when` is not a key of a step (did you mean `if`?)"),
        ("{id: a, run: a, needs: [zzz]}", "1 no step has the id `zzz` (`needs` names the ids of other steps"),
        ("{id: a, run: a}\n  - {run: b, needs: [zzz]}", "1 no step has the id `zzz` (the other steps are: a)"),
        ("{run: a, <<: {b: c}}", "1 `<<` is not a key of a step (merge keys"),
        ("{wait: {for: 1s, until: x}}", "1 a wait has `for` and `until`"),
        ("{wait: 31d}", "1 this waits for 31d; at most 30d 0h are possible"),
        ("{wait: {until: '02:30'}}", "1 `02:30` names no zone"),
        ("{approve: {}, for-each: [a]}", "1 an approval is asked once, not for each item"),
        ("{approve: {expires: 31d}}", "1 this waits for 31d; at most 30d 0h are possible"),
        ("{approve: {by: [dba]}, timeout: 1m}", "1 `timeout` means nothing for a step of the kind `approve`"),
        ("{wait: 1s, timeout: 1m}", "1 `timeout` means nothing for a step of the kind `wait`"),
        ("{run: a, secrets: [X]}", "1 `X` is not a secret of this runbook"),
    ];
    for (step, wanted) in cases {
        let found = first(&with_steps(&format!("  - {step}\n")));
        let (place, message) = found.split_once(' ').unwrap_or_default();
        let wanted = wanted.trim_start_matches("1 ");
        assert!(place.starts_with(['2', '3']) && message.starts_with(wanted), "{step}\n  {found}\n  {wanted}");
    }
}

#[test]
fn triggers_and_windows_are_checked_before_they_are_built() {
    let source = "\
params: {env: {enum: [staging, prod], required: true}}
on:
  schedule:
    - {cron: '61 2 * * SAT', timezone: Europe/Berlni, with: {env: prud}}
    - {cron: '@daily', dst: {gap: shfit}}
  webhook: {secret: hook, params: {evn: body.x}}
windows:
  allow: ['SAR 01:00-05:00', 'SAT 01:00-05:00 Europe/Berlin']
  deny: [{from: 2026-12-20, to: 2026-02-30}, {from: 2026-12-20, to: 2026-12-19}]
concurrency: {group: 'pg-${{ params.env }}', limit: 0}
secrets: {A: {env: X}, B: {env: X, file: y}}
steps:
  - {run: a, secrets: [A]}
";
    insta::assert_snapshot!(complaints(source), @r#"
    4:14 minute `61`: must be 0 to 59
    4:40 `Europe/Berlni` is not a time zone (did you mean `Europe/Berlin`?)
    4:67 `env`: `prud` is not one of staging, prod
    5:7 this schedule gives no value for the required parameter `env` (add `with: {env: ...}`)
    5:35 `gap` cannot be `shfit` (did you mean `shift`?)
    6:36 `evn` is not a parameter of this runbook (did you mean `env`?)
    8:11 `SAR` is not a day of the week (did you mean `SAT`?)
    9:33 `2026-02-30` is no date of the calendar
    9:69 this freeze ends before it begins
    10:53 `limit` must be at least 1
    11:24 no step receives the secret `B` (name it in the `secrets` of a step, or remove it)
    11:36 a secret has `env` and `file`; only one is possible
    11:42 `y` must be an absolute path: it is read on the machine that runs the step (write the whole path, such as `/etc/app/password`)
    "#);
}

#[test]
fn a_schedule_writes_its_values_out() {
    let source = "params: {day: {}, hosts: {type: list, default: [a]}}\n\
        on: {schedule: [{cron: '@daily', with: {day: '${{ run.started_at }}', hosts: [a, '${{ params.day }}']}}]}\n\
        steps: [{run: 'echo \"${{ params.day }}\"', for-each: '${{ params.hosts }}'}]\n";
    insta::assert_snapshot!(complaints(source), @r#"
    2:46 `${{ }}` cannot stand here: there is no run yet to take a value from (write the value out, or let a step find it)
    2:82 `${{ }}` cannot stand here: there is no run yet to take a value from (write the value out, or let a step find it)
    "#);
}

#[test]
fn cycles_are_shown_with_their_path() {
    let source = with_steps("  - {id: a, run: x, needs: [c]}\n  - {id: b, run: x}\n  - {id: c, run: x}\n");
    insta::assert_snapshot!(complaints(&source), @"3:10 these steps wait for each other: a -> c -> b -> a (a step without `needs` follows the step above it; `needs: []` starts at once)");
}

#[test]
fn a_step_reads_only_what_has_ended_before_it() {
    let two = |needs: &str| {
        with_steps(&format!(
            "  - {{id: a, run: x}}\n  - {{id: b, run: x, needs: {needs}, env: {{A: '${{{{ steps.a.outputs.k }}}}'}}}}\n"
        ))
    };
    assert_eq!(complaints(&two("[a]")), "no findings\n");
    assert!(complaints(&two("[]")).contains("`b` reads `a` but does not need it"));
    let last = "finally:\n  - {run: 'echo \"${{ steps.a.status }}\"', if: failure()}\n";
    assert_eq!(complaints(&format!("steps:\n  - {{id: a, run: x}}\n{last}")), "no findings\n");
}

#[test]
fn defaults_stand_under_every_step() {
    let runbook = accepted(
        "defaults: {timeout: 1m, shell: sh, env: {A: '1.10', B: 2}, retry: {attempts: 3}, runs-on: [x, b]}\n\
         steps:\n  - {run: a, env: {B: 0x1F}}\n  - {run: b, timeout: 5s, runs-on: c}\n  - {cmd: [a, 1.10]}\n",
    );
    let names: Vec<&str> = runbook.steps[0].env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(runbook.steps[0].runs_on, ["b", "x"]);
    assert_eq!(runbook.steps[1].runs_on, ["c"]);
    assert_eq!(runbook.steps[1].timeout.as_secs(), 5);
    assert_eq!(runbook.steps[2].on_lost, OnLost::Retry);
    let text = |template: &runward_engine::bind::Template| template.render(&Default::default()).unwrap();
    assert_eq!(text(&runbook.steps[0].env[1].1), "0x1F");
    let Action::Cmd(argv) = &runbook.steps[2].action else { panic!("not a cmd") };
    assert_eq!(argv.iter().map(text).collect::<Vec<_>>(), ["a", "1.10"]);
}

#[test]
fn a_variable_that_something_evaluates_takes_fixed_text_an_int_or_an_enum() {
    let file = |name: &str, value: &str, at: &str| {
        let step = format!("{{cmd: [a, '${{{{ params.v }}}}', '${{{{ params.n }}}}', '${{{{ params.e }}}}']{at}}}");
        let defaults =
            if at.is_empty() { format!("defaults: {{env: {{{name}: '{value}'}}}}\n") } else { String::new() };
        format!(
            "params: {{v: {{}}, n: {{type: int}}, e: {{enum: [/a, /b]}}}}\n{defaults}steps:\n  - {step}\n  - {step}\n"
        )
    };
    for name in [
        "BASH_ENV",
        "ENV",
        "PS0",
        "PS4",
        "PROMPT_COMMAND",
        "SHELLOPTS",
        "BASHOPTS",
        "IFS",
        "BASH_XTRACEFD",
        "GLOBIGNORE",
        "BASH_FUNC_x",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "GCONV_PATH",
        "PYTHONSTARTUP",
        "PYTHONPATH",
        "PYTHONHOME",
        "PERL5OPT",
        "PERL5LIB",
        "PERL5DB",
        "RUBYOPT",
        "RUBYLIB",
        "NODE_OPTIONS",
        "NODE_PATH",
        "JAVA_TOOL_OPTIONS",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_CONFIG_COUNT",
        "EDITOR",
        "VISUAL",
        "PAGER",
        "MANPAGER",
        "LESSOPEN",
        "PATH",
        "TERMINFO",
        "TAR_OPTIONS",
        "RSYNC_RSH",
    ] {
        let found = complaints(&file(name, "x${{ params.v }}", ""));
        let wanted = format!("a value in `{name}` could become code");
        assert!(found.starts_with("2:") && found.matches(&wanted).count() == 1, "{name}: {found}");
        assert!(found.contains("(write fixed text, or declare the parameter with `enum:`)"), "{found}");
        let own = complaints(&file(name, "", &format!(", env: {{{name}: '${{{{ params.v }}}}'}}")));
        assert_eq!(own.matches(&wanted).count(), 2, "{name}: {own}");
        for fine in ["fixed:text", "${{ params.e }}:/usr/bin", "${{ params.n }}"] {
            assert_eq!(complaints(&file(name, fine, "")), "no findings\n", "{name}: {fine}");
        }
        assert!(complaints(&file(name, "${{ params.e | upper }}", "")).contains(&wanted));
    }
    for name in ["HOME", "PGPASSWORD", "MY_PATH", "LDAP_HOST", "KUBECONFIG"] {
        assert_eq!(complaints(&file(name, "${{ params.v }}", "")), "no findings\n", "{name}");
    }
}

#[test]
fn a_tag_is_refused_wherever_it_stands_and_never_ignored() {
    for (source, tag) in [
        ("steps: [{run: !!binary aGk=}]\n", "!!binary"),
        ("steps: [{run: !!python/object:os.system x}]\n", "!!python/object:os.system"),
        ("steps: [{run: !foo x}]\n", "!foo"),
        ("steps:\n  - run: !foo |\n      true\n", "!foo"),
        ("steps: !!seq [{run: a}]\n", "!!seq"),
        ("steps:\n  - !step\n    run: a\n", "!step"),
        ("!!map\nsteps: [{run: a}]\n", "!!map"),
        ("steps: [{!k run: a}]\n", "!k"),
        ("steps: [{run: !!str a}]\n", "!!str"),
        ("steps: [{run: ! a}]\n", "!"),
        ("steps: [{run: !<tag:example.com,2026:x> a}]\n", "tag:example.com,2026:x"),
        ("%TAG !e! tag:example.com,2026:\n---\nsteps: [{run: !e!x a}]\n", "tag:example.com,2026:x"),
        ("steps: [{run: &a !foo x}, {run: *a}]\n", "!foo"),
    ] {
        let found = complaints(source);
        let wanted = format!("the tag `{tag}` has no meaning in a runbook (remove it");
        assert_eq!(found.matches(&wanted).count(), 1, "{source}: {found}");
    }
    let report = runward_engine::runbook::parse_values(b"a: !!binary aGk=\n").unwrap_err();
    assert!(report.findings[0].message.starts_with("the tag `!!binary`"), "{report:?}");
}

#[test]
fn exclamation_marks_of_texts_are_no_tags() {
    let runbook = accepted(
        "description: hello !world !!x\nannotations: {a: '!x', \"!b\": \"!!binary\"}\nsteps:\n  - run: \"! grep x\"\n    \
         if: \"true\"\n  - run: |\n      ! grep x || echo !! !foo\n      !!str\n  - run: >-\n      !x\n      !!y\n  \
         - {cmd: [a!b, x !y, '!c', \"!d\"]}  # !comment\n  # !!another\n",
    );
    assert_eq!(runbook.steps.len(), 4);
}

#[test]
fn positions_are_lines_and_characters() {
    assert_eq!(position("a: 你好\nb", 9), (1, 6));
    assert_eq!(position("a: 你好\nb", 10), (2, 1));
    assert_eq!(position("a: 你好", 4), (1, 4), "inside a character: its beginning");
    assert_eq!(position("", 99), (1, 1));
    assert!(first("\u{feff}stepz: 1\n").starts_with("1:1 `stepz`"), "{}", first("\u{feff}stepz: 1\n"));
    assert!(first("steps:\r\n  - rum: a\r\n").starts_with("2:5 `rum`"));
    let quoted = with_steps("  - run: \"echo \\u4f60 \\\"\\n\\\" ${{ item }}\"\n");
    assert!(first(&quoted).starts_with("2:34 `item`"), "{}", first(&quoted));
    let single = with_steps("  - run: 'echo \"it''s\" ${{ item }}'\n");
    assert!(first(&single).starts_with("2:28 `item`"), "{}", first(&single));
    let folded = with_steps("  - cmd:\n    - >-\n      one\n      two ${{ item }}\n");
    assert!(first(&folded).starts_with("5:15 `item`"), "{}", first(&folded));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(cuts in prop::collection::vec((0usize..4096, 0usize..40, "\\PC{0,6}"), 1..6)) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, len, new) in cuts {
            let start = at % text.len();
            let end = (start + len).min(text.len());
            text.splice(start..end, new.chars());
            if text.is_empty() {
                text.push('a');
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(report) = parse(text.as_bytes()) {
            prop_assert!(!report.findings.is_empty());
            for finding in &report.findings {
                prop_assert!(finding.span.end <= text.len() && finding.span.start <= finding.span.end);
                prop_assert!(text.get(finding.span.clone()).is_some(), "{finding:?}");
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}

#[test]
fn a_schedule_names_what_it_does_not_give() {
    let file = |with: &str| {
        let params = "params: {a: {required: true}, b: {required: true}, c: {}, d: {default: x}}\n";
        format!(
            "{params}on: {{schedule: [{{cron: '@daily'{with}}}]}}\nsteps: [{{cmd: ['${{{{ params.a ~ params.b ~ params.c ~ params.d }}}}']}}]\n"
        )
    };
    assert!(complaints(&file("")).contains("the required parameters `a`, `b` (add `with: {a: ..., b: ...}`)"));
    assert!(complaints(&file(", with: {a: x, c: x}")).contains("the required parameter `b` (add `with: {b: ...}`)"));
    assert_eq!(complaints(&file(", with: {a: x, b: x}")), "no findings\n");
}

#[test]
fn names_have_a_length_and_a_form() {
    let name = |n: usize| "a".repeat(n);
    for (n, right) in [(100, true), (101, false)] {
        for file in [
            format!("steps: [{{id: {}, run: a}}]\n", name(n)),
            format!("params: {{{0}: {{}}}}\nsteps: [{{cmd: ['${{{{ params.{0} }}}}']}}]\n", name(n)),
            format!("steps: [{{run: a, outputs: {{{}: int}}}}]\n", name(n)),
            format!("on: {{schedule: [{{id: {}, cron: '@daily'}}]}}\nsteps: [{{run: a}}]\n", name(n)),
        ] {
            let found = complaints(&file);
            assert_eq!(found == "no findings\n", right, "{n}: {found}");
            assert!(right || found.contains("is too long: a name has at most 100 characters"), "{found}");
        }
    }
    let titled = |title: &str| complaints(&format!("name: {title}\nsteps: [{{run: a}}]\n"));
    for right in ["夜间备份", "db/pg minor-upgrade", "a..b", &name(200)] {
        assert_eq!(titled(right), "no findings\n", "{right}");
    }
    for (wrong, wanted) in [
        ("''", "cannot be empty"),
        ("'  '", "cannot be empty"),
        ("\"a\\e[31mb\"", "`a\\u{1b}[31mb`: control characters cannot stand"),
        ("../x", "does not begin with `/` and has no `..` in it"),
        ("a/../x", "has no `..` in it"),
        ("/x", "does not begin with `/`"),
        (&name(201), "at most 200 characters"),
    ] {
        assert!(titled(wrong).contains(wanted), "{wrong}: {}", titled(wrong));
    }
}

#[test]
fn the_usual_slips_in_yaml_come_with_what_to_write_instead() {
    for (source, help) in [
        ("steps:\n\t- run: echo\n", "indent with spaces"),
        ("steps:\n  - run: echo a: b\n", "needs quotes, or `|`"),
        ("steps:\n - run: echo\n  - run: echo\n", "starts in the same column"),
        ("steps:\n  - run: \"echo\n", "not closed"),
    ] {
        let report = parse(source.as_bytes()).unwrap_err();
        let said = report.findings[0].help.clone().unwrap_or_default();
        assert!(said.contains(help), "{source}: {report:?}");
    }
}
