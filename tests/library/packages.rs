//! The packages of a host, which is a container with a Debian of its own.

use std::fs;

use runward_library::Docker;

use crate::harness::repository;
use crate::operator::Operator;

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_host_is_brought_up_to_date_and_gets_what_a_service_needs() {
    let docker = Docker::start();
    let mut operator = Operator::new();
    let scene = operator.scene.path("").display().to_string();
    let target = std::path::Path::new(env!("CARGO_BIN_EXE_runward")).parent().unwrap().display().to_string();
    // What was fetched once is not fetched again.
    let fetched = repository().join("target/stack/debs").display().to_string();
    fs::create_dir_all(&fetched).unwrap();
    let own = |path: &str, how: &str| format!("{path}:{path}{how}");
    let (tree, program) = (own(&repository().join("runbooks").display().to_string(), ":ro"), own(&target, ":ro"));
    docker.say(&[
        "run",
        "--detach",
        "--name",
        "host",
        "--init",
        "--network",
        "host",
        "--volume",
        &tree,
        "--volume",
        &program,
        "--volume",
        &own(&scene, ""),
        "--volume",
        &format!("{fetched}:/var/cache/apt/archives"),
        "debian:bookworm-slim",
        "sleep",
        "infinity",
    ]);
    let here = format!("DOCKER_HOST={}", docker.host());
    operator.within = ["env", &here, "docker", "exec", "--env", "RUNWARD_STATE", "host"].map(str::to_owned).to_vec();
    let inside = |words: &[&str]| docker.ask(&[&["exec", "host"], words].concat());
    let version =
        |package: &str| inside(&["dpkg-query", "--show", "--showformat", "${Version} ${db:Status-Status}", package]).1;

    // A package of this host, of which an archive has a newer one.
    let archive = "mkdir -p /archive/root/DEBIAN && cd /archive
        make() { printf 'Package: demo-tool\\nVersion: %s\\nArchitecture: all\\nMaintainer: demo\\nDescription: demo\\n%s' \\
                   \"$1\" \"${3:-}\" > root/DEBIAN/control && sed -i \"1s/demo-tool/$2/\" root/DEBIAN/control && dpkg-deb -b root \"$2_$1.deb\"
                 { cat root/DEBIAN/control; echo \"Filename: ./$2_$1.deb\"; echo \"Size: $(stat -c %s $2_$1.deb)\"
                   echo \"SHA256: $(sha256sum $2_$1.deb | cut -c 1-64)\"; echo; } >> Packages; }
        make 1.0 demo-tool && dpkg -i demo-tool_1.0.deb && make 1.1 demo-tool
        make 1.0 demo-rival 'Conflicts: demo-tool\n'
        make 1.0 demo-part && make 1.0 demo-user && dpkg -i demo-user_1.0.deb && make 1.1 demo-user 'Depends: demo-part\n'
        printf '#!/bin/sh\\nexit 1\\n' > root/DEBIAN/postinst && chmod 755 root/DEBIAN/postinst && make 1.0 demo-broken
        echo 'deb [trusted=yes] file:/archive ./' > /etc/apt/sources.list.d/demo.list";
    let (code, said) = inside(&["bash", "-ec", archive]);
    assert_eq!(code, 0, "{said}");

    // What cannot be had, and what would remove something, changes nothing.
    let unknown = operator.expect(1, "host_packages", &[("packages", "no-such-package")]);
    assert!(unknown.text.contains("no archive of this host has: no-such-package"), "{}", unknown.text);
    let rival = operator.expect(1, "host_packages", &[("packages", "demo-rival")]);
    assert!(rival.text.contains("these would be removed for it: demo-tool"), "{}", rival.text);
    assert_eq!(version("demo-tool"), "1.0 installed");

    // What fails in the middle is taken away again; the upgrade stays.
    let broken = operator.expect(6, "host_packages", &[("packages", "demo-broken,wget")]);
    assert_eq!(broken.status("install"), "failed");
    assert_eq!(version("demo-tool"), "1.1 installed");
    operator.saw("S4-02", &broken, "refresh");
    operator.saw("S4-02", &broken, "upgrade");
    assert!(!version("demo-broken").contains("installed") && inside(&["sh", "-c", "command -v wget"]).0 != 0);
    assert_eq!(inside(&["dpkg", "--audit"]).1, "");

    // One that was here is newer by now and needs what came: nothing is taken away from it.
    let needed = [("packages", "demo-user,demo-broken"), ("upgrade", "false")];
    let left = operator.run("host_packages", &needed);
    assert!(left.text.contains("which were here before, to go with it: demo-user"), "{} {}", left.code, left.text);
    assert_eq!(left.status("keep"), "held");
    assert_eq!((version("demo-user"), version("demo-part")), ("1.1 installed".into(), "1.0 installed".into()));
    let (code, said) = inside(&["dpkg", "--purge", "demo-broken"]);
    assert_eq!(code, 0, "{said}");

    let first = "python3.11,nodejs,npm,docker.io,docker-compose,git,curl,wget,build-essential,libssl-dev,libffi-dev";
    let second = "python3.11,python3.11-venv,nginx,redis-server,htop,iotop";
    let run = operator.expect(0, "host_packages", &[("packages", &format!("{first},{second}"))]);
    for (program, says) in [
        ("python3.11 -m venv /tmp/venv && /tmp/venv/bin/pip --version", "pip "),
        ("node --version", "v"),
        ("npm --version", "."),
        ("docker --version", "Docker version"),
        ("docker-compose --version", "docker-compose version"),
        ("git --version", "git version"),
        ("curl --version", "curl "),
        ("wget --version", "GNU Wget"),
        (
            "printf '#include <openssl/ssl.h>\\n#include <ffi.h>\\nint main(void) { return !TLS_method() || !ffi_type_void.size; }' > /tmp/a.c && g++ -o /tmp/a /tmp/a.c -lssl -lffi && /tmp/a && echo compiled",
            "compiled",
        ),
        ("nginx -v", "nginx version"),
        ("redis-server --version", "Redis server"),
        ("htop --version", "htop"),
        ("iotop --version", "iotop"),
    ] {
        let (code, said) = inside(&["sh", "-c", &format!("{{ {program}; }} 2>&1")]);
        assert!(code == 0 && said.contains(says), "{program}: {said}");
    }
    operator.saw("S3-02 S4-03", &run, "install");

    // An archive that does not answer: apt alone says that this is a warning.
    inside(&["sh", "-c", "echo 'deb [trusted=yes] http://127.0.0.1:9/none ./' > /etc/apt/sources.list.d/gone.list"]);
    assert_eq!(inside(&["apt-get", "-qq", "update"]).0, 0, "as if all were well");
    let gone = operator.expect(1, "host_packages", &[]);
    operator.saw("S4-02", &gone, "refresh");
}
