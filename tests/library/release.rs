//! A release from its window to the word that it is out, and the migration that somebody forgot.

use std::fs;

use crate::harness::{finish, wait};
use crate::http_server::{Server, reply};
use crate::operator::Run;
use crate::place::Place;

/// Blue serves 1.0.0, and there is a room where people are told.
struct Releases {
    place: Place,
    room: Server,
}

impl Releases {
    fn new() -> Releases {
        let (place, room) = (Place::serving(), Server::start(|_, stream| reply(stream, "204 No Content", "", "")));
        let channel = format!("[notify.channels.releases]\ntype = \"webhook\"\nurl = \"{}\"\n", room.base());
        place.operator.scene.file("runward.toml", channel);
        Releases { place, room }
    }

    fn revision(&self) -> String {
        self.place.stack.sql("select version_num from alembic_version")
    }

    /// A release with a migration of its own, from what is there.
    fn with_migration(&self, version: &str, revision: &str) {
        let release = self.place.stack.path("releases").join(version);
        if !release.exists() {
            self.place.stack.release(version);
            fs::copy(
                self.place.stack.path("releases/1.1.0/migrations/versions/next.py"),
                release.join("migrations/versions/next.py"),
            )
            .unwrap();
        }
        let file =
            release.join(format!("migrations/versions/{}.py", if revision == "9001" { "next" } else { revision }));
        fs::write(file, migration(revision, &self.revision(), &format!("drop table t{revision}"))).unwrap();
    }

    fn release(&self, code: i32, version: &str, more: &[(&str, &str)]) -> Run {
        let (url, database) = (self.place.stack.url(), self.place.stack.database());
        let own = [("version", version), ("url", &url), ("database", &database), ("watch_seconds", "1")];
        self.place.run(code, "release", &[&own[..], more].concat())
    }

    /// What people were told, once so much was.
    fn told(&self, count: usize) -> String {
        wait("people to be told", || self.room.asked().len() >= count);
        self.room.asked().iter().map(|asked| asked.body.clone() + "\n").collect()
    }
}

fn migration(revision: &str, after: &str, down: &str) -> String {
    format!(
        "from alembic import op\nrevision = '{revision}'\ndown_revision = '{after}'\n\n\ndef upgrade():\n    \
         op.execute('create table t{revision} (n int)')\n\n\ndef downgrade():\n    op.execute('{down}')\n"
    )
}

#[test]
fn a_release_waits_for_people_goes_out_and_is_taken_back_where_it_is_not_well() {
    let releases = Releases::new();
    let (place, scene) = (&releases.place, &releases.place.operator.scene);
    let before = releases.revision();
    // alembic would miss its model: such tables are left out of the comparison, as the release says.
    releases.with_migration("1.1.0", "9001");
    ignore_own_tables(place, "1.1.0");

    let asked = releases.release(8, "1.1.0", &[("at", "2020-01-01 00:00 UTC")]);
    assert_eq!((place.version().as_str(), releases.revision()), ("1.0.0", before.clone()));
    assert!(releases.room.asked().iter().all(|asked| !asked.body.contains("is released")));
    let name = format!("run:{}", asked.show["run"]["id"].as_str().unwrap());
    let name = name.trim_start_matches("run:");
    assert_eq!(finish(scene.runward().env("SUDO_USER", "bob").args(["approve", name])).code, 0);
    scene.expect(0, &["resume", name]);
    let run = place.operator.look(name);
    assert_eq!((place.version().as_str(), releases.revision().as_str()), ("1.1.0", "9001"));
    assert_eq!(place.stack.sql("select to_regclass('t9001') is not null"), "t");
    place.saw("S2-46", &run, "tables");
    place.saw("S2-46", &run, "switch");
    place.saw("S2-47", &run, "after");
    let told = releases.told(2);
    assert!(
        told.contains("1.1.0 is being released in place of 1.0.0")
            && told.contains("1.1.0 is released in place of 1.0.0"),
        "{told}"
    );
    place.saw("S2-22", &run, "told");

    // The next one comes up, and what people need is not there: it goes back, with its tables.
    let count = releases.room.asked().len();
    releases.with_migration("1.2.0", "9002");
    ignore_own_tables(place, "1.2.0");
    let failed = releases.release(6, "1.2.0", &[("approve", "false"), ("paths", "/health,/no-such-page")]);
    assert!(failed.text.contains("/no-such-page is not answered as it should be"), "{}", failed.text);
    assert_eq!((place.version().as_str(), releases.revision().as_str()), ("1.1.0", "9001"));
    assert_eq!(place.stack.sql("select to_regclass('t9002') is null"), "t");
    let told = releases.told(count + 2);
    assert!(told.contains("1.2.0 is not released: 1.1.0 serves as before"), "{told}");
    place.saw("S2-22", &failed, "tell_of_failure");

    let refused = releases.release(1, "1.1.0", &[("approve", "false")]);
    assert!(refused.text.contains("1.1.0 serves already"), "{}", refused.text);
}

/// `alembic check` compares the tables of the release's models alone.
fn ignore_own_tables(place: &Place, version: &str) {
    let env = place.stack.path(&format!("releases/{version}/migrations/env.py"));
    let text = fs::read_to_string(&env).unwrap();
    let known =
        "target_metadata=metadata, include_name=lambda name, kind, _: kind != \"table\" or name in metadata.tables";
    fs::write(&env, text.replace("target_metadata=metadata", known)).unwrap();
}

#[test]
fn a_password_in_the_name_of_a_database_is_refused_before_anything_is_recorded() {
    let place = Place::empty();
    let secret = "hunter2";
    for database in [
        format!("postgres://app:{secret}@db1/app"),
        format!("postgres:///app?host=/run&password={secret}"),
        format!("host=db1 dbname=app password={secret}"),
    ] {
        let params = [("release", "/srv/x"), ("bin", "/srv/bin"), ("backups", "/backup"), ("database", &database)];
        let refused = place.operator.run("migrate", &params);
        assert_eq!(refused.code, 2, "{}", refused.text);
        let (root, bin) = (place.stack.folder().display().to_string(), place.stack.bin().display().to_string());
        let params = [
            ("root", root.as_str()),
            ("bin", &bin),
            ("version", "1"),
            ("url", "http://127.0.0.1"),
            ("database", &database),
        ];
        assert_eq!(place.operator.run("release", &params).code, 2);
    }
    let state =
        finish(std::process::Command::new("grep").args(["-rl", secret]).arg(place.operator.scene.path("state")));
    assert_eq!(state.stdout, "", "nothing of it is anywhere");
}

#[test]
fn a_migration_that_is_missing_is_drafted_read_and_applied() {
    let place = Place::empty();
    let release = place.stack.release("1.0.0");
    place.stack.migrate("1.0.0");
    let scene = &place.operator.scene;
    let draft = |code: i32, more: &[(&str, &str)]| {
        let [path, bin, backups] =
            [release.clone(), place.stack.bin(), place.stack.path("backups")].map(|it| it.display().to_string());
        let database = place.stack.database();
        let own = [
            ("release", path.as_str()),
            ("bin", &bin),
            ("backups", &backups),
            ("database", &database),
            ("message", "a colour"),
        ];
        place.operator.expect(code, "draft_migration", &[&own[..], more].concat())
    };
    let versions = || {
        fs::read_dir(release.join("migrations/versions")).unwrap().flatten().filter(|it| it.path().is_file()).count()
    };
    let columns = || {
        place.stack.sql("select string_agg(column_name, ' ' order by ordinal_position) from information_schema.columns where table_name = 'items' and column_name in ('colour', 'note')")
    };
    let count = versions();
    let none = draft(0, &[]);
    assert_eq!((none.status("draft").as_str(), versions()), ("skipped", count), "there is no difference");

    let tables = release.join("app/tables.py");
    let text = fs::read_to_string(&tables).unwrap();
    fs::write(
        &tables,
        text.replace("    Column(\"note\", Text),\n", "    Column(\"note\", Text),\n    Column(\"colour\", Text),\n"),
    )
    .unwrap();
    let asked = draft(8, &[]);
    assert!(asked.text.contains("op.add_column('items', sa.Column('colour'"), "{}", asked.text);
    assert_eq!((versions(), columns().as_str()), (count + 1, "note"), "nobody has read it");
    let id = asked.show["run"]["id"].as_str().unwrap();
    scene.expect(0, &["reject", id, "--comment", "call it color"]);
    scene.run(&["resume", id]);
    assert_eq!((versions(), columns().as_str()), (count, "note"), "what nobody agrees to is deleted");

    let asked = draft(8, &[]);
    let id = asked.show["run"]["id"].as_str().unwrap();
    scene.expect(0, &["approve", id]);
    scene.expect(0, &["resume", id]);
    let run = place.operator.look(id);
    assert_eq!((versions(), columns().as_str()), (count + 1, "note colour"));
    for step in ["drift", "draft", "apply"] {
        place.saw("S3-14", &run, step);
    }
    assert_eq!(draft(0, &[]).output("drift", "drift"), "false");

    // A column that is renamed looks like one that is dropped: that is never applied unread.
    let text = fs::read_to_string(&tables).unwrap();
    fs::write(&tables, text.replace("Column(\"colour\", Text)", "Column(\"color\", Text)")).unwrap();
    let asked = draft(8, &[("approve", "false")]);
    assert!(asked.text.contains("it drops something: was it renamed?"), "{}", asked.text);
    assert_eq!(columns(), "note colour");
}
