//! Runbook files: what is accepted, and what is said about what is not.

use proptest::prelude::*;
use runward_engine::runbook::model::{Action, Items, OnLost, Runbook};
use runward_engine::runbook::{Report, parse, position};

const EXAMPLE: &str = include_str!("files/pg-minor-upgrade.yaml");

/// `line:col message (help)`, a line each.
fn render(source: &str, report: &Report) -> String {
    let line = |finding: &runward_engine::runbook::Finding| {
        let (line, column) = position(source, finding.span.start);
        let help = finding.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{line}:{column} {}{help}\n", finding.message)
    };
    report.findings.iter().map(line).collect()
}

fn complaints(source: &str) -> String {
    match parse(source.as_bytes()) {
        Ok(_) => "no findings\n".into(),
        Err(report) => render(source, &report),
    }
}

fn accepted(source: &str) -> Runbook {
    parse(source.as_bytes()).unwrap_or_else(|report| panic!("{}", render(source, &report)))
}

#[test]
fn the_example_of_the_contract_is_right_and_its_unbuilt_keys_are_named() {
    let runbook = accepted(EXAMPLE);
    let unbuilt: Vec<&str> = runbook.unbuilt.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(
        unbuilt,
        [
            "severity",
            "on.schedule",
            "on.webhook",
            "windows",
            "concurrency",
            "secrets",
            "objectives",
            "steps[0].secrets",
            "steps[1].approve",
            "steps[2].check",
            "steps[2].undo",
            "steps[3].http",
            "on-failure",
            "finally[0].notify",
        ]
    );
    assert_eq!(&EXAMPLE[runbook.unbuilt[8].span.clone()], "approve");
    let ids: Vec<&str> = runbook.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["backup", "agree", "upgrade", "verify", "finally_1"]);
    assert_eq!(runbook.steps[0].on_lost, OnLost::Retry);
    assert_eq!(runbook.steps[2].needs, [1]);
    assert_eq!(runbook.steps[3].runs_on, ["db"]);
    assert!(matches!(runbook.steps[2].for_each.as_ref().unwrap().items, Items::Expression(_)));
    assert!(matches!(runbook.steps[4].action, Action::Unbuilt("notify")));
}

#[test]
fn ten_mistakes_give_ten_findings_with_their_places() {
    let source = "\
name: 夜间备份
description: 每天晚上备份数据库
params: {环境: {type: string}, count: {type: int, default: 五}}
timeout: 10
steps:
  - id: 准备
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
    insta::assert_snapshot!(complaints(source), @"");
}
