//! Who decides, as one person: whatever terminal they sit at, and whoever they became to be allowed to write the ledger.
//!
//! The kernel says who runs this program. Where that is root, or the owner of the state folder, it may be an account that
//! people share, and `sudo` says who came: they could write the ledger itself, so their word about this is as good as the
//! ledger. Nobody else's environment is believed.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Group, Uid, User, getgrouplist};
use runward_engine::run::command::Person;
use runward_workers::home::Home;

/// Who sits here. `home`: the state folder that holds the ledger; a ledger elsewhere has no owner here.
pub fn person(home: Option<&Home>) -> Person {
    let owner = home.and_then(|home| std::fs::metadata(home.root()).ok()).map(|folder| folder.uid());
    let uid = Uid::effective();
    let name = came_from().filter(|_| uid.is_root() || Some(uid.as_raw()) == owner).unwrap_or_else(|| login(uid));
    let groups = groups(&name);
    Person { name, groups }
}

/// Every name that whoever asks for a run is known by, where that is more than the login name.
pub fn requester() -> Vec<String> {
    let names: Vec<String> = came_from().into_iter().chain(crate::actor::ci_person()).collect();
    if names.is_empty() { names } else { std::iter::once(login(Uid::effective())).chain(names).collect() }
}

fn login(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid-{uid}"), |user| user.name)
}

fn came_from() -> Option<String> {
    std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty()).map(|name| crate::actor::clean(&name))
}

/// The groups the machine says this user is in.
fn groups(name: &str) -> Vec<String> {
    let user = User::from_name(name).ok().flatten();
    let listed = user.and_then(|user| getgrouplist(&CString::new(name).ok()?, user.gid).ok()).unwrap_or_default();
    listed.into_iter().filter_map(|gid| Group::from_gid(gid).ok().flatten()).map(|group| group.name).collect()
}

/// Who is in a group of this machine, as far as it lists them; `None` where there is no such group.
pub fn members(group: &str) -> Option<Vec<String>> {
    Group::from_name(group).ok().flatten().map(|group| group.mem)
}
