//! `runward init`: a first runbook to start from.

use std::fs;
use std::io::Write;

use super::print_line;
use crate::args::InitArgs;
use crate::failure::Failure;

const HELLO: &str = include_str!("hello.yaml");

pub fn run(args: &InitArgs) -> Result<i32, Failure> {
    let path = args.folder.join("hello.yaml");
    let failed = |error: std::io::Error| Failure::usage(format!("{} cannot be written: {error}", path.display()));
    fs::create_dir_all(&args.folder).map_err(failed)?;
    match fs::File::create_new(&path) {
        Ok(mut file) => file.write_all(HELLO.as_bytes()).map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::usage(format!("{} exists already and was left as it is", path.display()))
                .help("name another folder: `runward init FOLDER`"));
        }
        Err(error) => return Err(failed(error)),
    }
    print_line(&format!("wrote {}", path.display()));
    print_line(&format!("run it with:  runward run {} -p name=world", path.display()));
    Ok(0)
}
