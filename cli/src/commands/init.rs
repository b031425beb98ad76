//! `runward init`: a first runbook to start from.

use super::new::write;
use super::print_line;
use crate::args::{InitArgs, Template};
use crate::failure::Failure;

pub fn run(args: &InitArgs) -> Result<i32, Failure> {
    let path = write(&args.folder, "hello", Template::Hello)?;
    print_line(&format!("run it with:  runward run {} {}", path.display(), Template::Hello.example()));
    print_line("for a verified backup, a deploy or a migration:  runward new --list");
    Ok(0)
}
