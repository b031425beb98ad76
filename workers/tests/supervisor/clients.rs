//! Clients come, go, and misbehave.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use runward_workers::supervisor::client::{Event, Gone, Supervisor};
use runward_workers::supervisor::journal::{self, End};

use crate::world::*;

fn raw(world: &World) -> UnixStream {
    let socket = world.home().join("sock");
    until("the socket", || UnixStream::connect(&socket).ok())
}

#[tokio::test]
async fn a_client_that_sends_garbage_is_dropped_and_nobody_else_notices() {
    let mut world = World::new();
    let launch = world.launch("step", "while [ ! -e go ]; do sleep 0.01; done");
    world.requests.start(launch.clone()).unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xff\xff\xff\xff", b"\x04\0\0\0nope"] {
        let mut client = raw(&world);
        client.write_all(garbage).unwrap();
        let mut told = Vec::new();
        client.read_to_end(&mut told).unwrap();
        assert!(String::from_utf8_lossy(&told).contains("hello"));
    }
    let mut stalled = raw(&world);
    stalled.write_all(b"\x10\0\0\0{").unwrap();
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(world.ended(&launch).await.end, End::Exited { code: 0 });
    stalled.read_to_end(&mut Vec::new()).unwrap(); // it is hung up on, in time
}

#[tokio::test]
async fn the_supervisor_ends_when_nothing_runs_and_nobody_is_connected() {
    let world = World::new();
    let launch = world.launch("step", "while [ ! -e go ]; do sleep 0.01; done");
    world.requests.start(launch.clone()).unwrap();
    let socket = world.home().join("sock");
    drop(raw(&world));
    let supervisor = world.supervisor_pid();
    let (go, home) = (world.path("go"), world.home());
    assert_eq!(std::fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    let World { dir: _dir, requests, events } = world;
    drop((requests, events));
    let again = Supervisor::connect(&home).await.unwrap();
    drop(again);
    assert!(is_alive(supervisor), "a step runs");
    std::fs::write(go, "").unwrap();
    until("the end of the supervisor", || (!is_alive(supervisor)).then_some(()));
    assert!(!socket.exists());
    assert_eq!(result(&launch).end, End::Exited { code: 0 });
}

#[tokio::test]
async fn who_asked_what_lives_is_told_of_every_end() {
    let mut world = World::new();
    drop(raw(&world));
    let mut other = Supervisor::connect(&world.home()).await.unwrap();
    other.requests.list().unwrap();
    assert_eq!(other.events.next_event().await, Event::Live { attempts: vec![] });
    let launch = world.launch("step", "true");
    world.run(&launch).await;
    assert_eq!(other.events.next_event().await, Event::Ended { attempt: "step".into() });
}

#[tokio::test]
async fn who_only_started_something_is_told_of_its_end_alone() {
    let mut world = World::new();
    drop(raw(&world));
    let mut other = Supervisor::connect(&world.home()).await.unwrap();
    let own = world.launch("own", "true");
    other.requests.start(own.clone()).unwrap();
    world.run(&world.launch("step", "true")).await;
    assert_eq!(other.events.next_event().await, Event::Ended { attempt: "own".into() });
    other.requests.list().unwrap();
    assert_eq!(other.events.next_event().await, Event::Live { attempts: vec![] }, "nothing came between");
    other.requests.start(own).unwrap();
    assert!(matches!(other.events.next_event().await, Event::Refused { .. }), "it was started before");
}

#[tokio::test]
async fn who_may_not_start_what_another_started_is_told_of_its_end() {
    let mut world = World::new();
    let launch = world.launch("step", "while [ ! -e go ]; do sleep 0.01; done");
    world.requests.start(launch.clone()).unwrap();
    drop(raw(&world));
    let mut other = Supervisor::connect(&world.home()).await.unwrap();
    until("the start of the step", || journal::is_alive(&launch.dir).unwrap_or(false).then_some(()));
    other.requests.start(launch.clone()).unwrap();
    assert!(matches!(other.events.next_event().await, Event::Refused { .. }));
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(other.events.next_event().await, Event::Ended { attempt: "step".into() });
    assert_eq!(world.event().await, Event::Ended { attempt: "step".into() });
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_or_is_taken_is_told_to_the_first_client() {
    let world = World::new();
    drop(raw(&world));
    let mut second = Supervisor::spawn(Path::new(HOST), &world.home()).unwrap();
    let Event::Gone { reason: Gone::Unusable(reason) } = second.events.next_event().await else { panic!() };
    assert!(reason.contains("another supervisor"), "{reason}");

    std::fs::write(world.path("file"), "").unwrap();
    let mut third = Supervisor::spawn(Path::new(HOST), &world.path("file")).unwrap();
    let Event::Gone { reason: Gone::Unusable(reason) } = third.events.next_event().await else { panic!() };
    assert!(reason.contains("cannot use"), "{reason}");
}

#[tokio::test]
async fn of_many_who_start_a_supervisor_at_once_all_find_the_same_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let starting: Vec<_> = (0..8)
        .map(|_| {
            let home = home.clone();
            tokio::spawn(async move { Supervisor::find_or_start(Path::new(HOST), &home).await.unwrap() })
        })
        .collect();
    let mut clients = Vec::new();
    for client in starting {
        clients.push(client.await.unwrap());
    }
    let launch = launch(dir.path(), "step", "while [ ! -e go ]; do sleep 0.01; done");
    clients[0].requests.start(launch.clone()).unwrap();
    until("the start of the step", || journal::is_alive(&launch.dir).unwrap_or(false).then_some(()));
    for client in &mut clients[1..] {
        client.requests.list().unwrap();
        assert_eq!(client.events.next_event().await, Event::Live { attempts: vec!["step".into()] });
    }
    std::fs::write(dir.path().join("go"), "").unwrap();
    for client in &mut clients {
        assert_eq!(client.events.next_event().await, Event::Ended { attempt: "step".into() });
    }
    assert_eq!(result(&launch).end, End::Exited { code: 0 });
}

#[tokio::test]
async fn a_path_longer_than_a_socket_address_works() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&long).unwrap();
    let first = Supervisor::spawn(Path::new(HOST), &long).unwrap();
    until("the socket", || long.join("sock").exists().then_some(()));
    let mut second = Supervisor::connect(&long).await.unwrap();
    second.requests.list().unwrap();
    assert_eq!(second.events.next_event().await, Event::Live { attempts: vec![] });
    drop(first);
}
