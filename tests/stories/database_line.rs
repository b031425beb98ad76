//! The way to the database: encrypted, to nobody else, and the doctor says so.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use runward_services::{Cluster, Postgres, Signal};
use serde_json::Value;

use crate::cluster_cli::Host;
use crate::harness::{Scene, finish};

/// A certificate for `address` by an authority of our own, and another authority that has signed nothing.
fn certify(scene: &Scene, address: &str) {
    let extensions = "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n[leaf]\nbasicConstraints=CA:FALSE\n";
    scene.file("ca.cnf", format!("{extensions}subjectAltName=IP:{address}\n"));
    let authority = |name: &str| {
        format!(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -config ca.cnf -extensions ca -keyout {name}.key -out {name}.pem"
        )
    };
    let make = format!(
        "{} && {} && \
         openssl req -newkey rsa:2048 -nodes -subj /CN=leaf -config ca.cnf -keyout leaf.key -out leaf.csr && \
         openssl x509 -req -in leaf.csr -CA ours.pem -CAkey ours.key -CAcreateserial -days 2 -extfile ca.cnf -extensions leaf -out leaf.pem",
        authority("ours"),
        authority("theirs")
    );
    let made = finish(Command::new("bash").args(["-c", &make]).current_dir(scene.path("")));
    assert_eq!(made.code, 0, "{}", made.stderr);
}

/// What the doctor says of the line: its verdict, and the words.
fn line(host: &Host) -> (String, String) {
    let done = host.run(&["doctor", "--format", "json"]);
    let found: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}{}", done.stdout, done.stderr));
    let check = found["checks"].as_array().unwrap().iter().find(|check| check["name"] == "database line");
    let check = check.unwrap_or_else(|| panic!("{found:#}"));
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("says"))
}

/// No test but this one has these two addresses: every process has others, all of this machine.
#[test]
fn a_database_is_reached_encrypted_and_a_server_that_cannot_prove_who_it_is_is_refused() {
    let (scene, mut postgres) = (Scene::new(), Postgres::start());
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let (named, unnamed) = (format!("127.71.{high}.{low}"), format!("127.72.{high}.{low}"));
    certify(&scene, &named);
    for file in ["leaf.pem", "leaf.key"] {
        let to = postgres.folder().join(file);
        std::fs::copy(scene.path(file), &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        Cluster::own(&to);
    }
    let setting = |name: &str, file: &str| format!("{name}={}", postgres.folder().join(file).display());
    let files = [setting("ssl_cert_file", "leaf.pem"), setting("ssl_key_file", "leaf.key")];
    let addresses = format!("listen_addresses={named},{unnamed}");
    let hba = "local all all trust\nhostssl all all 127.0.0.0/8 trust\n";
    std::fs::write(postgres.folder().join("data/pg_hba.conf"), hba).unwrap();
    postgres.stop(Signal::Interrupt);
    postgres.start_again_with(&["ssl=on", &files[0], &files[1], &addresses]);
    postgres.database("runward");

    let host = |address: &str, rest: &str| Host {
        scene: &scene,
        url: format!("postgres://runward@{address}:5432/runward?{rest}"),
    };
    let by = |name: &str| format!("sslmode=verify-full&sslrootcert={}", scene.path(&format!("{name}.pem")).display());
    let trusted = host(&named, &by("ours"));
    trusted.expect(0, &["db", "migrate"]);
    scene.file("x.yaml", "steps: [{id: a, run: 'true'}]\n");
    trusted.expect(0, &["run", "x.yaml", "--detach"]);
    assert_eq!(line(&trusted), ("ok".to_owned(), "encrypted".to_owned()));

    for (who, why) in [
        (host(&named, &by("theirs")), "another authority"),
        (host(&unnamed, &by("ours")), "another name"),
        (host(&named, "sslmode=verify-full"), "an authority of which this machine knows nothing"),
        (host(&named, "sslmode=disable"), "in the clear, where the server wants it encrypted"),
    ] {
        let refused = who.run(&["runs"]);
        assert_eq!(refused.code, 9, "{why}: {}{}", refused.stdout, refused.stderr);
        assert!(
            refused.stderr.contains(who.url["postgres://".len()..].split('/').next().unwrap()),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(trusted.json(&["runs"]).as_array().map(Vec::len), Some(1));

    std::fs::write(postgres.folder().join("data/pg_hba.conf"), "local all all trust\nhost all all 127.0.0.0/8 trust\n")
        .unwrap();
    postgres.sql("postgres", "SELECT pg_reload_conf()");
    let clear = host(&named, "sslmode=disable");
    crate::harness::wait("the server to let it in", || clear.run(&["runs"]).code == 0);
    assert_eq!(line(&clear), ("ok".to_owned(), "does not leave this machine".to_owned()));
}
