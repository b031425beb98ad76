//! What is drawn and what keys do, without a terminal.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use runward_engine::run::command::Report;
use runward_engine::run::event::LogDigest;
use runward_engine::run::rows::run_row;
use runward_engine::run::{Command, Event, Outcome, RunId, RunState, StepStatus, create, execute};
use runward_engine::runbook;
use serde_json::{Map, json};

use super::draw::{Look, draw};
use super::keys::{Key, Wish, press};
use super::model::{About, Driving, Place, RunAbout, RunLine, Scroll, Watch};
use super::run_page::{Row, RunPage};
use crate::view::words::Marks;

const T0: i64 = 1_795_000_000_000;

const BOOK: &str = r#"
params: {nodes: {type: list, default: [甲, 乙, 丙]}}
steps:
  - {id: backup, run: 'true'}
  - {id: build, needs: [], run: 'true'}
  - {id: upgrade, needs: [backup], for-each: '${{ params.nodes }}', run: 'echo ${{ item }}', stop-after-failures: 9, allow-failure: true}
  - {id: flaky, needs: [backup], run: 'true', retry: {attempts: 5, delay: 8s, jitter: none}}
  - {id: verify, needs: [upgrade, flaky, build], run: 'true'}
finally:
  - {id: tell, run: 'true', if: failure()}
"#;

/// A run of which some of this happened.
struct Story {
    state: RunState,
    now: i64,
}

impl Story {
    fn begin(name: &str, source: &str) -> Story {
        let book = Arc::new(runbook::parse(source.as_bytes()).unwrap());
        let mut state = RunState::new(RunId("01a201da-350b-72b8-8073-bad8cbd1b05a".into()), book);
        let mut params = Map::new();
        params.insert("nodes".into(), json!(["甲", "乙", "丙"]));
        let created = Event::RunCreated {
            name: name.to_owned(),
            definition: "d".repeat(64),
            params,
            trigger: "cli".into(),
            key: None,
            seed: 1,
            plan: None,
            planned: None,
            parent: None,
            zone: None,
            requester: Vec::new(),
            tick: None,
            group: None,
            priority: Default::default(),
        };
        create(&mut state, created, T0, "ann@db1 (terminal)");
        Story { state, now: T0 }
    }

    fn does(&mut self, command: Command) {
        self.now += 1_000;
        execute(&mut self.state, &command, self.now, "ann@db1 (terminal)").unwrap();
    }

    fn start(&mut self, unit: &str) {
        let unit = self.state.unit_named(unit).unwrap();
        let claim = format!("claim-{}", self.now).as_str().into();
        self.does(Command::Claim { unit, claim, session: "s".into(), boot: "b".into(), place: None });
    }

    fn end(&mut self, unit: &str, outcome: Outcome) {
        let claim =
            self.state.unit(self.state.unit_named(unit).unwrap()).unwrap().attempts.last().unwrap().claim.clone();
        let error = (outcome != Outcome::Succeeded).then(|| "exit code 3\u{1b}[2J".to_owned());
        let report = Report {
            outcome,
            outputs: Default::default(),
            error,
            log: LogDigest::default(),
            started_at: None,
            ended_at: None,
            orphans: Vec::new(),
        };
        self.does(Command::Settle { claim, report: Box::new(report) });
    }
}

const FAILED: Outcome = Outcome::Failed { code: Some(3), signal: None };

/// `backup` is done, `upgrade` has lost two of three nodes, `flaky` waits for its second attempt, `build` runs.
fn midway(name: &str) -> Story {
    let mut story = Story::begin(name, BOOK);
    story.start("backup");
    story.end("backup", Outcome::Succeeded);
    story.start("build");
    story.start("flaky");
    story.end("flaky", FAILED);
    story.start("upgrade[0]");
    story.end("upgrade[0]", FAILED);
    story.start("upgrade[2]");
    story.end("upgrade[2]", FAILED);
    story
}

fn watching(story: &Story) -> Watch {
    let mut watch = Watch::new(true);
    let mut page = RunPage::of(&story.state);
    page.driving = Driving::Process("4711".into());
    watch.run = Some(page);
    watch
}

fn line_of(story: &Story, driving: Driving) -> RunLine {
    RunLine { row: run_row(&story.state), driving, about: About::Read(RunAbout::of(&story.state)) }
}

const PLAIN: Look = Look { colour: false, marks: Marks::Unicode };

fn drawn(watch: &Watch, width: u16, height: u16, now: i64, look: Look) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(watch, now, look, &mut buffer);
    let row = |y: u16| {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line += symbol;
            x += (unicode_width::UnicodeWidthStr::width(symbol) as u16).max(1);
        }
        line.trim_end().to_owned()
    };
    (0..height).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_run_is_readable_on_eighty_by_twenty_four() {
    let story = midway("发布网站");
    let mut watch = watching(&story);
    watch.output.clear(Some(("build".into(), 1)));
    let lines = ["short".to_owned(), "long ".repeat(30), "备份 👩\u{200d}👦 \u{202e}x".to_owned()];
    watch.output.push(lines.into_iter(), &mut watch.scroll);
    watch.output.open_line = Some("building 42%".into());
    insta::assert_snapshot!(drawn(&watch, 80, 24, story.now + 500, PLAIN));
}

#[test]
fn a_run_without_a_driver_says_what_to_do() {
    let story = midway("deploy");
    let mut watch = watching(&story);
    let page = watch.run.as_mut().unwrap();
    page.driving = Driving::Nobody;
    let text = drawn(&watch, 80, 24, story.now, PLAIN);
    assert!(text.contains("nobody drives this run: runward resume bad8cbd1b05a"), "{text}");
    watch.run.as_mut().unwrap().lives_on = true;
    let text = drawn(&watch, 80, 24, story.now, PLAIN);
    assert!(text.contains("nobody drives this run, its step goes on: runward resume bad8cbd1b05a"), "{text}");
}

#[test]
fn a_small_terminal_shows_what_matters_most() {
    let story = midway("a-name-that-is-longer-than-the-terminal");
    let watch = watching(&story);
    insta::assert_snapshot!(drawn(&watch, 20, 5, story.now, PLAIN));
    for (width, height) in [(1, 1), (2, 2), (3, 1), (80, 1), (1, 24), (500, 200)] {
        drawn(&watch, width, height, story.now, PLAIN);
        let mut list = Watch::new(false);
        drawn(&list, width, height, story.now, PLAIN);
        list.runs.lines = vec![line_of(&story, Driving::Unknown); 3];
        drawn(&list, width, height, story.now, PLAIN);
        list.help = true;
        drawn(&list, width, height, story.now, PLAIN);
    }
}

#[test]
fn without_utf8_and_colour_everything_is_said_in_ascii_and_words() {
    let story = midway("发布");
    let mut watch = watching(&story);
    watch.output.push(std::iter::once("备份 done".to_owned()), &mut watch.scroll);
    let text = drawn(&watch, 80, 24, story.now, Look { colour: false, marks: Marks::Ascii });
    assert!(text.is_ascii(), "{text}");
    for word in ["> running", "~ flaky", "x upgrade[0]", "+ backup", ". verify", "?? done"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn nothing_that_was_recorded_can_drive_the_terminal() {
    let story = midway("evil\u{1b}[2J\u{202e}\r\nname");
    let mut watch = watching(&story);
    watch.output.push(std::iter::once("\u{1b}]0;title\u{7}\u{9b}2J".to_owned()), &mut watch.scroll);
    let mut list = Watch::new(false);
    list.runs.lines = vec![line_of(&story, Driving::Nobody)];
    for watch in [&watch, &list] {
        let text = drawn(watch, 80, 24, story.now, PLAIN);
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    }
}

#[test]
fn colour_is_never_the_only_sign_and_can_be_left_out() {
    let story = midway("deploy");
    let watch = watching(&story);
    let coloured = |colour: bool| {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        draw(&watch, story.now, Look { colour, marks: Marks::Unicode }, &mut buffer);
        buffer.content.iter().any(|cell| cell.fg != ratatui::style::Color::Reset)
    };
    assert_eq!((coloured(true), coloured(false)), (true, false));
}

#[test]
fn the_list_shows_state_progress_and_what_runs() {
    let running = midway("发布网站");
    let mut lost = midway("nightly-backup");
    lost.state.id = RunId("01a201da-350b-72b8-8073-000000000002".into());
    let mut done = Story::begin("tidy", "steps:\n  - {id: one, run: 'true'}\n");
    done.start("one");
    done.end("one", FAILED);
    done.state.id = RunId("01a201da-350b-72b8-8073-000000000003".into());
    let mut watch = Watch::new(false);
    watch.runs.lines = vec![
        line_of(&running, Driving::Process("1".into())),
        line_of(&lost, Driving::Nobody),
        line_of(&done, Driving::Unknown),
    ];
    watch.runs.read = true;
    let text = drawn(&watch, 80, 24, running.now + 60_000, PLAIN);
    // Local time differs between machines.
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("created")).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn ten_thousand_items_are_a_count_with_the_first_failures_named() {
    let items: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let source = format!(
        "max-parallel: 10000\nsteps:\n  - {{id: each, for-each: [{}], run: 'true', stop-after-failures: 10000, max-parallel: 10000}}\n",
        items.join(", ")
    );
    let mut story = Story::begin("many", &source);
    for item in 0..30 {
        story.start(&format!("each[{item}]"));
        story.end(&format!("each[{item}]"), if item % 2 == 0 { FAILED } else { Outcome::Succeeded });
    }
    let page = RunPage::of(&story.state);
    assert_eq!(page.rows.len(), 12);
    assert!(matches!(&page.rows[10], Row::Step(row) if row.name == "each[18]"));
    assert!(matches!(page.rows[11], Row::More(5)));
    let text = drawn(&watching(&story), 80, 24, story.now, PLAIN);
    assert!(text.contains("30/10000 items, 15 failed") && text.contains("5 more failed items"), "{text}");
}

#[test]
fn arrows_choose_enter_follows_the_log_and_q_goes_back() {
    let story = midway("deploy");
    let mut watch = watching(&story);
    watch.alone = false;
    let name = |watch: &Watch| watch.run.as_ref().unwrap().chosen_row().unwrap().1.name.clone();
    assert_eq!(name(&watch), "build", "what runs comes first");
    press(&mut watch, Key::Home);
    assert_eq!(name(&watch), "backup");
    press(&mut watch, Key::Up);
    assert_eq!(name(&watch), "backup");
    press(&mut watch, Key::End);
    assert_eq!(name(&watch), "tell", "the heading of `finally` is passed over");
    press(&mut watch, Key::Char('f'));
    assert_eq!(name(&watch), "build");
    assert_eq!(press(&mut watch, Key::Enter), Wish::Nothing);
    assert_eq!((watch.place, watch.scroll), (Place::Log, Scroll::END));
    press(&mut watch, Key::Char('q'));
    press(&mut watch, Key::Escape);
    assert_eq!(watch.place, Place::Runs);
    assert_eq!(press(&mut watch, Key::Char('q')), Wish::Quit);
}

#[test]
fn what_somebody_chose_stays_chosen_while_the_run_goes_on() {
    let mut story = midway("deploy");
    let mut watch = watching(&story);
    watch.run.as_mut().unwrap().chosen = story.state.unit_named("verify");
    story.end("build", Outcome::Succeeded);
    let page = watch.run.as_mut().unwrap();
    page.update(&story.state);
    assert_eq!(page.chosen_row().unwrap().1.name, "verify");
    assert_eq!(page.driving, Driving::Process("4711".into()));
    page.chosen = None;
    assert_eq!(page.chosen_row().unwrap().1.status, StepStatus::Running, "`upgrade`, of which an item is left");
}

#[test]
fn a_log_is_followed_until_somebody_scrolls_up_and_again_at_its_end() {
    let story = midway("deploy");
    let mut watch = watching(&story);
    watch.place = Place::Log;
    watch.output.push((0..100).map(|n| format!("line {n}")), &mut watch.scroll);
    assert!(drawn(&watch, 80, 24, T0, PLAIN).contains("line 99"));
    press(&mut watch, Key::Up);
    watch.output.push((100..200).map(|n| format!("line {n}")), &mut watch.scroll);
    let text = drawn(&watch, 80, 24, T0, PLAIN);
    assert!(text.contains("line 98\n") && !text.contains("line 99") && text.contains("line 78 of 200"), "{text}");
    press(&mut watch, Key::Home);
    assert!(drawn(&watch, 80, 24, T0, PLAIN).contains("line 0\n"));
    press(&mut watch, Key::End);
    assert!(watch.scroll.follow);
    press(&mut watch, Key::Right);
    assert!(!drawn(&watch, 80, 24, T0, PLAIN).contains("line 199"), "what stands further left is out of sight");
}

#[test]
fn lines_that_are_let_go_do_not_move_the_one_who_reads() {
    let mut watch = Watch::new(true);
    watch.scroll = Scroll { follow: false, top: 500, left: 0 };
    watch.output.push((0..20_000).map(|n| n.to_string()), &mut watch.scroll);
    watch.output.push((20_000..20_100).map(|n| n.to_string()), &mut watch.scroll);
    assert_eq!((watch.scroll.top, watch.output.cut), (400, true));
    assert_eq!(watch.output.line(0), Some("[earlier output: runward logs]"));
    assert_eq!(watch.output.line(1), Some("100"));
}

#[test]
fn a_cancel_is_asked_for_and_the_second_one_ends_at_once() {
    let mut story = midway("deploy");
    let mut watch = watching(&story);
    press(&mut watch, Key::Char('c'));
    let text = drawn(&watch, 80, 24, T0, PLAIN);
    assert!(text.contains("cancel deploy? its steps are ended, `finally` runs  y/n"), "{text}");
    assert_eq!(press(&mut watch, Key::Enter), Wish::Nothing);
    assert_eq!(watch.note.as_deref(), Some("nothing was cancelled"));
    press(&mut watch, Key::Char('c'));
    let run = story.state.id.clone();
    assert_eq!(press(&mut watch, Key::Char('y')), Wish::Cancel { run: run.clone(), force: false });
    story.does(Command::Cancel { force: false, rollback: false, reason: None });
    watch.run.as_mut().unwrap().update(&story.state);
    press(&mut watch, Key::Char('c'));
    assert!(drawn(&watch, 80, 24, T0, PLAIN).contains("end deploy at once?"));
    assert_eq!(press(&mut watch, Key::Char('y')), Wish::Cancel { run, force: true });
}

#[test]
fn a_run_at_its_end_is_not_cancelled() {
    let mut story = Story::begin("tidy", "steps:\n  - {id: one, run: 'true'}\n");
    story.start("one");
    story.end("one", FAILED);
    let mut watch = watching(&story);
    press(&mut watch, Key::Char('c'));
    assert!(watch.ask.is_none() && watch.note.as_ref().is_some_and(|note| note.contains("at its end")));
    let text = drawn(&watch, 80, 24, T0 + 9_000, PLAIN);
    assert!(text.contains("failed, exit code 1; try again: runward resume bad8cbd1b05a"), "{text}");
}
