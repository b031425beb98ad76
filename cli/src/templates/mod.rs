//! The runbooks that `runward new` writes: each valid, commented, and run for real by a test.
//!
//! In them `@run@` stands for the runbook's name (`db/backup`), `@name@` for the same as a part of file names (`db-backup`),
//! and `@base@` for its last part: the folder of its other files.

use crate::args::Template;

/// A file as it is written, its path relative to the runbook's folder.
pub struct File {
    pub path: String,
    pub content: String,
    pub executable: bool,
}

type Source = (&'static str, &'static str);

/// The runbook first.
const HELLO: &[Source] = &[("@base@.yaml", include_str!("hello.yaml"))];
const BACKUP: &[Source] = &[("@base@.yaml", include_str!("backup/runbook.yaml"))];
const DEPLOY: &[Source] =
    &[("@base@.yaml", include_str!("deploy/runbook.yaml")), ("@base@/reload.sh", include_str!("deploy/reload.sh"))];
const MIGRATE: &[Source] = &[
    ("@base@.yaml", include_str!("migrate/runbook.yaml")),
    ("@base@/migrate.sh", include_str!("migrate/migrate.sh")),
    ("@base@/sql/0001_first.sql", include_str!("migrate/0001_first.sql")),
];

impl Template {
    /// Its files for a runbook of this name: `db/backup` is called `backup` in its folder.
    pub fn files(self, name: &str) -> Vec<File> {
        let sources = match self {
            Template::Hello => HELLO,
            Template::Backup => BACKUP,
            Template::Deploy => DEPLOY,
            Template::Migrate => MIGRATE,
        };
        let base = name.rsplit('/').next().unwrap_or(name);
        let word = name.replace('/', "-");
        let fill = |text: &str| text.replace("@base@", base).replace("@name@", &word).replace("@run@", name);
        let file = |(path, content): &Source| File {
            path: fill(path),
            content: fill(content),
            executable: path.ends_with(".sh"),
        };
        sources.iter().map(file).collect()
    }

    /// The parameters to run it with, as an example.
    pub fn example(self) -> &'static str {
        match self {
            Template::Hello => "-p name=world",
            Template::Backup => "-p source=FOLDER -p target=FOLDER",
            Template::Deploy => "-p root=FOLDER -p artifact=FILE -p version=1.0.0 -p health=URL",
            Template::Migrate => "-p database=FILE -p backups=FOLDER",
        }
    }
}
