//! Migrations on a real database: up, down, to a revision, and what goes wrong.

use std::fs;
use std::path::PathBuf;

use crate::operator::Run;
use crate::place::Place;

/// A database, a release, and somebody who migrates.
struct Tables {
    place: Place,
}

impl Tables {
    fn new() -> Tables {
        let place = Place::empty();
        place.stack.release("1.0.0");
        Tables { place }
    }

    fn migrate(&self, code: i32, direction: &str, to: &str) -> Run {
        self.migrate_with(&self.place.stack.database(), code, direction, to)
    }

    fn migrate_with(&self, database: &str, code: i32, direction: &str, to: &str) -> Run {
        let [release, bin, backups] = [self.path("releases/1.0.0"), self.place.stack.bin(), self.path("backups")];
        let [release, bin, backups] = [release, bin, backups].map(|path| path.display().to_string());
        let params = [("release", release.as_str()), ("bin", &bin), ("database", database), ("backups", &backups)];
        let params: Vec<(&str, &str)> = params.into_iter().chain([("direction", direction), ("to", to)]).collect();
        self.place.operator.expect(code, "migrate", &params)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.stack.path(name)
    }

    fn sql(&self, sql: &str) -> String {
        self.place.stack.sql(sql)
    }

    /// Past alembic and runward.
    fn revision(&self) -> String {
        let there = self.sql("select to_regclass('alembic_version') is not null");
        if there == "t" { self.sql("select version_num from alembic_version") } else { String::new() }
    }

    fn columns(&self) -> String {
        self.sql(
            "select string_agg(column_name, ' ' order by ordinal_position) from information_schema.columns
             where table_name = 'items'",
        )
    }

    fn migration(&self, name: &str, text: &str) {
        let file = self.path("releases/1.0.0/migrations/versions").join(name);
        fs::write(file, text).unwrap();
    }
}

#[test]
fn an_empty_database_is_brought_up_and_taken_down_step_by_step() {
    let tables = Tables::new();
    let saw = |rows: &str, run: &Run, step: &str| tables.place.saw(rows, run, step);

    let up = tables.migrate(0, "up", "head");
    assert_eq!(tables.revision(), "0004");
    assert_eq!(tables.columns(), "id name created_at note");
    saw("S0-04 S3-15", &up, "apply");
    assert_eq!(tables.sql("select name from items"), "first", "the first row is there");
    assert_eq!(tables.sql("select has_table_privilege('public', 'items', 'select')"), "t");
    assert_eq!(tables.sql("select to_regclass('ix_items_name') is not null and to_regclass('users') is not null"), "t");
    assert!(
        tables
            .place
            .stack
            .postgres
            .ask("app", "insert into items (name) values ('')")
            .unwrap_err()
            .contains("not_empty")
    );
    saw("S2-24", &up, "apply");
    assert!(up.text.contains("public | items "), "the tables are shown: {}", up.text);
    saw("S0-05", &up, "verify");
    assert_eq!(up.output("history", "revisions"), "0004\n0003\n0002\n0001");
    saw("S3-18", &up, "history");
    assert_eq!(up.output("before", "revision"), "base");

    let down = tables.migrate(0, "down", "-1");
    assert_eq!((tables.revision().as_str(), tables.columns().as_str()), ("0003", "id name created_at note"));
    assert_eq!(tables.sql("select to_regclass('users') is null"), "t");
    saw("S3-19", &down, "apply");
    assert_eq!(down.output("before", "revision"), "0004");
    saw("S3-17", &down, "before");

    let to = tables.migrate(0, "down", "0001");
    assert_eq!((tables.revision().as_str(), tables.columns().as_str()), ("0001", "id name created_at"));
    assert_eq!(tables.sql("select count(*) from items"), "1", "the rows are still there");
    saw("S3-20 S2-25", &to, "apply");

    let one = tables.migrate(0, "up", "+1");
    assert_eq!((tables.revision().as_str(), tables.columns().as_str()), ("0002", "id name created_at note"));
    saw("S3-16", &one, "apply");
    assert_eq!(one.show["outputs"]["after"], "0002");
}

#[test]
fn the_backup_before_a_migration_has_what_was_there() {
    let tables = Tables::new();
    tables.migrate(0, "up", "0002");
    tables.sql("insert into items (name, note) select 'item ' || n, 'precious' from generate_series(1, 500) n");
    let down = tables.migrate(0, "down", "0001");
    assert_eq!(tables.columns(), "id name created_at", "the notes are gone");

    let backup = down.output("backup", "file");
    tables.place.stack.postgres.sql("postgres", "create database again");
    let restored = std::process::Command::new("pg_restore")
        .args([
            "--exit-on-error",
            "--single-transaction",
            "--dbname",
            &tables.place.stack.postgres.url("again"),
            &backup,
        ])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(tables.place.stack.postgres.sql("again", "select count(*) from items where note = 'precious'"), "500");
    tables.place.saw("S3-52", &down, "backup");
    let names: Vec<_> = fs::read_dir(tables.path("backups")).unwrap().flatten().map(|it| it.file_name()).collect();
    assert_eq!(names.len(), 2, "one for each run, and nothing half: {names:?}");
}

#[test]
fn a_migration_that_fails_half_way_changes_nothing() {
    let tables = Tables::new();
    tables.migrate(0, "up", "head");
    tables.migration(
        "0005_half.py",
        "from alembic import op\nrevision = '0005'\ndown_revision = '0004'\n\n\ndef upgrade():\n    \
         op.execute('alter table items add column half int')\n    op.execute('select no_such_function()')\n",
    );
    let failed = tables.migrate(1, "up", "head");
    assert!(failed.text.contains("no_such_function"), "{}", failed.text);
    assert_eq!((tables.revision().as_str(), tables.columns().as_str()), ("0004", "id name created_at note"));
    assert!(fs::exists(failed.output("backup", "file")).unwrap());

    let other = tables.place.stack.postgres.url("postgres");
    let refused = tables.migrate_with(&other, 1, "down", "-1");
    assert!(refused.text.contains("is not the database of the release"), "{}", refused.text);
    assert_eq!(tables.revision(), "0004");
}

#[test]
fn a_migration_that_leads_to_other_tables_than_the_release_expects_is_taken_back() {
    let tables = Tables::new();
    tables.migrate(0, "up", "0002");
    tables.migration(
        "0005_other.py",
        "from alembic import op\nrevision = '0005'\ndown_revision = '0004'\n\n\ndef upgrade():\n    \
         op.execute('create table other (id int)')\n\n\ndef downgrade():\n    op.execute('drop table other')\n",
    );
    let failed = tables.migrate(6, "up", "head");
    assert!(failed.text.contains("a migration is missing"), "{}", failed.text);
    assert_eq!(tables.revision(), "0002");
    assert_eq!(tables.sql("select to_regclass('other') is null"), "t");
    assert_eq!(failed.status("apply"), "undone");
}

#[test]
fn a_place_that_cannot_work_is_refused_before_anything_is_written() {
    let tables = Tables::new();
    let nowhere = tables.migrate(1, "down", "head");
    assert!(nowhere.text.contains("down to where?"), "{}", nowhere.text);
    fs::remove_dir(tables.path("backups")).unwrap();
    let refused = tables.migrate(1, "up", "head");
    assert!(refused.text.contains("cannot write in"), "{}", refused.text);
    assert_eq!(tables.revision(), "");
}
